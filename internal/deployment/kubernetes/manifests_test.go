package kubernetes

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const deploy = "../../../deploy/kubernetes"

// objects are what a kustomization gives, each by kind and name, as YAML.
type objects map[string][]byte

// build makes the objects of deploy/kubernetes with those of its components.
func build(t *testing.T, components ...string) objects {
	t.Helper()
	inMemory := filesys.MakeFsInMemory()
	source := os.DirFS(deploy)
	err := fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		return inMemory.WriteFile(path.Join("/base", name), content)
	})
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string][]string{"resources": {"../base"}}
	for _, c := range components {
		overlay["components"] = append(overlay["components"], "../base/components/"+c)
	}
	content, err := yaml.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := inMemory.WriteFile("/overlay/kustomization.yaml", content); err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(inMemory, "/overlay")
	if err != nil {
		t.Fatalf("kustomize: %v", err)
	}
	all := objects{}
	for _, r := range built.Resources() {
		content, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		all[r.GetKind()+"/"+r.GetName()] = content
	}
	return all
}

// newByKind makes an empty object of each kind that the manifests have, but for those of operators.
var newByKind = map[string]func() any{
	"ClusterRole":        func() any { return new(rbacv1.ClusterRole) },
	"ClusterRoleBinding": func() any { return new(rbacv1.ClusterRoleBinding) },
	"ConfigMap":          func() any { return new(corev1.ConfigMap) },
	"DaemonSet":          func() any { return new(appsv1.DaemonSet) },
	"Namespace":          func() any { return new(corev1.Namespace) },
	"Service":            func() any { return new(corev1.Service) },
	"ServiceAccount":     func() any { return new(corev1.ServiceAccount) },
}

// decode reads an object of the manifests.
func decode[T any](t *testing.T, all objects, name string) T {
	t.Helper()
	var into T
	content, ok := all[name]
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	if err := strictly(content, &into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return into
}

// strictly decodes as the API server does when kubectl asks for validation: a field that does not exist, by its exact case,
// is an error. (The YAML package's own strict decoder does not mind the case.)
func strictly(content []byte, into any) error {
	asJSON, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	notStrict, err := json.UnmarshalStrict(asJSON, into)
	return errors.Join(append(notStrict, err)...)
}

func agentOf(t *testing.T, d appsv1.DaemonSet) corev1.Container {
	t.Helper()
	for _, c := range d.Spec.Template.Spec.Containers {
		if c.Name == "tcpleak" {
			return c
		}
	}
	t.Fatal("the DaemonSet has no container tcpleak")
	panic("unreachable")
}

// settings are those of the agent's file that the manifests depend on.
type settings struct{ Listen, User string }

func configured(t *testing.T, all objects) (s settings) {
	t.Helper()
	for name := range all {
		if !strings.HasPrefix(name, "ConfigMap/") {
			continue
		}
		file := decode[corev1.ConfigMap](t, all, name).Data["tcpleak.yaml"]
		if err := yaml.Unmarshal([]byte(file), &s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

var variants = map[string][]string{
	"plain":                    nil,
	"without processes":        {"no-processes"},
	"with metrics":             {"metrics"},
	"everything":               {"no-processes", "metrics", "service-monitor"},
	"metrics for the operator": {"metrics", "service-monitor"},
}

func TestEveryFieldExists(t *testing.T) {
	for name, components := range variants {
		t.Run(name, func(t *testing.T) {
			for name, content := range build(t, components...) {
				kind, _, _ := strings.Cut(name, "/")
				if kind == "ServiceMonitor" {
					continue // the Prometheus operator's
				}
				empty := newByKind[kind]
				if empty == nil {
					t.Errorf("%s: no test knows this kind; add it to newByKind", name)
					continue
				}
				if err := strictly(content, empty()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

func TestAFieldThatDoesNotExistIsSeen(t *testing.T) {
	if err := strictly([]byte("spec: {hostPid: true}"), new(corev1.Pod)); err == nil {
		t.Error("hostPid, which is written hostPID, went through")
	}
}

func TestEveryNameLeadsSomewhere(t *testing.T) {
	for name, components := range variants {
		t.Run(name, func(t *testing.T) {
			all := build(t, components...)
			d := decode[appsv1.DaemonSet](t, all, "DaemonSet/tcpleak")
			pod := d.Spec.Template.Spec
			selector := labels.SelectorFromSet(d.Spec.Selector.MatchLabels)
			if !selector.Matches(labels.Set(d.Spec.Template.Labels)) {
				t.Errorf("the DaemonSet selects %v, its pods are labelled %v", selector, d.Spec.Template.Labels)
			}
			if all["ServiceAccount/"+pod.ServiceAccountName] == nil {
				t.Errorf("there is no service account %s", pod.ServiceAccountName)
			}
			for _, v := range pod.Volumes {
				if v.ConfigMap != nil && all["ConfigMap/"+v.ConfigMap.Name] == nil {
					t.Errorf("volume %s: there is no ConfigMap %s", v.Name, v.ConfigMap.Name)
				}
			}
			for _, c := range pod.Containers {
				for _, m := range c.VolumeMounts {
					if !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
						t.Errorf("container %s mounts %s, which is no volume", c.Name, m.Name)
					}
				}
			}
			if all["Service/tcpleak"] != nil {
				s := decode[corev1.Service](t, all, "Service/tcpleak")
				if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)) {
					t.Errorf("the Service selects %v, pods are labelled %v", s.Spec.Selector, d.Spec.Template.Labels)
				}
				target := s.Spec.Ports[0].TargetPort.StrVal
				if !slices.ContainsFunc(pod.Containers, func(c corev1.Container) bool {
					return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == target })
				}) {
					t.Errorf("the Service leads to the port %q, which no container has", target)
				}
			}
		})
	}
}

func TestTheFileIsWhereTheAgentReadsIt(t *testing.T) {
	all := build(t)
	d := decode[appsv1.DaemonSet](t, all, "DaemonSet/tcpleak")
	agent := agentOf(t, d)
	at := slices.Index(agent.Args, "-c")
	if at < 0 || at+1 == len(agent.Args) {
		t.Fatalf("%q names no file", agent.Args)
	}
	dir, file := path.Split(agent.Args[at+1])
	for _, m := range agent.VolumeMounts {
		if m.MountPath != path.Clean(dir) {
			continue
		}
		for _, v := range d.Spec.Template.Spec.Volumes {
			if v.Name == m.Name && decode[corev1.ConfigMap](t, all, "ConfigMap/"+v.ConfigMap.Name).Data[file] != "" {
				return
			}
		}
	}
	t.Errorf("nothing puts %s there", agent.Args[at+1])
}

func TestTheAgentMayDoNoMoreThanItHasTo(t *testing.T) {
	for _, tt := range []struct {
		name         string
		components   []string
		hostPID      bool
		capabilities []corev1.Capability
	}{
		{"names processes", nil, true, []corev1.Capability{"DAC_READ_SEARCH", "NET_RAW", "SETGID", "SETUID", "SYS_PTRACE"}},
		{"without processes", []string{"no-processes"}, false, []corev1.Capability{"NET_RAW", "SETGID", "SETUID"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := decode[appsv1.DaemonSet](t, build(t, append(tt.components, "metrics")...), "DaemonSet/tcpleak")
			pod := d.Spec.Template.Spec
			if !pod.HostNetwork || pod.HostIPC || pod.HostPID != tt.hostPID {
				t.Errorf("of the host's, it has network %v, IPC %v, processes %v; want true, false, %v",
					pod.HostNetwork, pod.HostIPC, pod.HostPID, tt.hostPID)
			}
			if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
				t.Error("every container gets a token for the API")
			}
			if pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Errorf("seccomp profile %v", pod.SecurityContext.SeccompProfile)
			}
			for _, c := range pod.Containers {
				s := c.SecurityContext
				if s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
					t.Errorf("%s may write to its root", c.Name)
				}
				if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
					t.Errorf("%s may gain privileges", c.Name)
				}
				if s.Privileged != nil && *s.Privileged {
					t.Errorf("%s is privileged", c.Name)
				}
				if !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
					t.Errorf("%s drops %v, not ALL", c.Name, s.Capabilities.Drop)
				}
				want := tt.capabilities
				if c.Name != "tcpleak" {
					want = nil
				}
				if got := slices.Sorted(slices.Values(s.Capabilities.Add)); !slices.Equal(got, want) {
					t.Errorf("%s has the capabilities %v, want %v", c.Name, got, want)
				}
				for _, what := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
					if limit := c.Resources.Limits[what]; limit.IsZero() {
						t.Errorf("%s may take any amount of %s", c.Name, what)
					}
				}
			}
			for _, v := range pod.Volumes {
				if v.HostPath != nil {
					t.Errorf("volume %s is the node's %s", v.Name, v.HostPath.Path)
				}
			}
		})
	}
}

func TestOnlyTheProxyGetsAToken(t *testing.T) {
	d := decode[appsv1.DaemonSet](t, build(t, "metrics"), "DaemonSet/tcpleak")
	for _, m := range agentOf(t, d).VolumeMounts {
		if m.Name == "token" {
			t.Error("the agent has the proxy's token for the API")
		}
	}
}

// What stays root may send signals to all of the node's that is root's.
func TestTheAgentBecomesSomebodyElse(t *testing.T) {
	if got := configured(t, build(t)).User; got != "65534" {
		t.Errorf("the agent becomes %q, not nobody", got)
	}
}

// Without a host, the kubelet asks at the node's address, where a listener on the loopback address does not answer.
func TestProbesAskWhereTheAgentListens(t *testing.T) {
	all := build(t)
	d := decode[appsv1.DaemonSet](t, all, "DaemonSet/tcpleak")
	agent := agentOf(t, d)
	listen := configured(t, all).Listen
	for name, p := range map[string]*corev1.Probe{"/healthz": agent.LivenessProbe, "/readyz": agent.ReadinessProbe, "/healthz ": agent.StartupProbe} {
		if got := p.HTTPGet.Host + ":" + p.HTTPGet.Port.String(); got != listen || p.HTTPGet.Path != strings.TrimSpace(name) {
			t.Errorf("a probe asks %s%s, the agent listens at %s for %s", got, p.HTTPGet.Path, listen, name)
		}
	}
}
