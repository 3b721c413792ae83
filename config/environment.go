package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// fileVariable may name the file. It is the command's to read.
const fileVariable = variablePrefix + "CONFIG"

// ofKubernetes are the variables that every pod gets for a service called tcpleak, or tcpleak-something, in its namespace.
var ofKubernetes = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// fromEnvironment reads the settings in environ, in the order of the keys. Entries of lists and maps stand between commas;
// in headers, what would be mistaken is written as in a URL, %2C for a comma, as OpenTelemetry has it.
func fromEnvironment(environ []string, wrong *problems) []setting {
	given := make(map[string]string)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, variablePrefix) && value != "" {
			given[name] = value
		}
	}
	var settings []setting
	for i := range keys {
		k := &keys[i]
		text, ok := given[k.variable()]
		if !ok {
			continue
		}
		delete(given, k.variable())
		s := setting{key: k, from: origin{where: k.variable()}}
		err := s.split(text)
		if err != nil {
			wrong.addf(0, "%s: %w", k.variable(), err)
			continue
		}
		settings = append(settings, s)
	}
	delete(given, fileVariable)
	var known []string
	for i := range keys {
		known = append(known, strings.ToLower(keys[i].variable()))
	}
	for _, name := range sortedNames(given) {
		if ofKubernetes.MatchString(name) {
			continue
		}
		guess := "the documentation has all there are"
		if best := closest(name, known); best != "" {
			guess = "did you mean " + strings.ToUpper(best) + "?"
		}
		wrong.addf(0, "%s: there is no such variable; %s", printable(name), guess)
	}
	return settings
}

// split takes the value of a variable apart.
func (s *setting) split(text string) error {
	shape := shapeOf(s.key.value(new(Agent)))
	if shape == scalar {
		s.text = text
		return nil
	}
	_, headers := s.key.value(new(Agent)).(*Headers)
	for part := range strings.SplitSeq(text, ",") {
		e := entry{from: s.from, text: strings.TrimSpace(part)}
		switch {
		case e.text == "":
			continue
		case shape == list:
		case headers:
			if err := e.pair(); err != nil {
				return err
			}
			value, err := url.PathUnescape(e.text)
			if err != nil {
				return fmt.Errorf("%s: %% is not followed by two hexadecimal digits; write it as %%25", printable(e.name))
			}
			e.text = value
		case !strings.Contains(e.text, "=") && len(s.entries) > 0: // leak=60s,10
			s.entries[len(s.entries)-1].text += ", " + e.text
			continue
		default:
			if err := e.pair(); err != nil {
				return err
			}
		}
		s.entries = append(s.entries, e)
	}
	return nil
}

// pair takes NAME=VALUE apart. The error does not repeat it: it may be a secret.
func (e *entry) pair() error {
	name, value, ok := strings.Cut(e.text, "=")
	e.name, e.text = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || e.name == "" {
		return errors.New("an entry without a name; write NAME=VALUE")
	}
	return nil
}
