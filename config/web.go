package config

import (
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// WebDirs returns the directories of a web configuration of the exporter-toolkit and of the files that it names: they are read
// again and again while the agent runs, and others are put in their place when they are renewed. Where path is "", there are
// none; what cannot be read names none, and whoever serves says why.
func WebDirs(path string) []string {
	if path == "" {
		return nil
	}
	dirs := []string{filepath.Dir(path)}
	var web struct {
		TLS struct {
			Cert     string `yaml:"cert_file"`
			Key      string `yaml:"key_file"`
			ClientCA string `yaml:"client_ca_file"`
		} `yaml:"tls_server_config"`
	}
	text, err := os.ReadFile(path)
	if err != nil || yaml.Unmarshal(text, &web) != nil {
		return dirs
	}
	for _, name := range []string{web.TLS.Cert, web.TLS.Key, web.TLS.ClientCA} {
		if name == "" {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		dirs = append(dirs, filepath.Dir(name))
	}
	return dirs
}
