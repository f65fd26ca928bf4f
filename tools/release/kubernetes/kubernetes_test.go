package kubernetes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

const root = "../../.."

// decode takes objects as the API's server does with strict validation: a field that the type does not have, or has
// twice, is an error.
func decode(t *testing.T) func(text string) (runtime.Object, error) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	return func(text string) (runtime.Object, error) {
		object, _, err := decoder.Decode([]byte(text), nil, nil)
		return object, err
	}
}

func TestStrictDecodingIsStrict(t *testing.T) {
	for _, text := range []string{
		"apiVersion: v1\nkind: Namespace\nmetadata: {nmae: x}\n",
		"apiVersion: apps/v1\nkind: Daemonset\n",
		"apiVersion: v1\nkind: Namespace\nkind: Namespace\n",
	} {
		if object, err := decode(t)(text); err == nil {
			t.Errorf("%q is taken: %v", text, object)
		}
	}
}

func TestObjects(t *testing.T) {
	take, programs := decode(t), build(t)
	files, err := filepath.Glob(filepath.Join(root, "configs/kubernetes/*.yaml"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%q (%v), want three files", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			configs := map[string]*corev1.ConfigMap{}
			sets := 0
			for _, part := range strings.Split(string(text), "\n---\n") {
				object, err := take(part)
				if err != nil {
					t.Fatal(err)
				}
				switch o := object.(type) {
				case *corev1.Namespace:
				case *corev1.ConfigMap:
					configs[o.Name] = o
					for name, config := range o.Data {
						checkConfig(t, programs, name, config)
					}
				case *appsv1.DaemonSet:
					sets++
					checkSet(t, programs, o, configs)
				default:
					t.Errorf("nobody checks a %T", o)
				}
			}
			if sets != 1 {
				t.Errorf("%d DaemonSets, want one", sets)
			}
		})
	}
}

// build makes the programs that the containers run.
func build(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	for name, folder := range map[string]string{"verdictd": "daemon", "conntrackwatch": "conntrackwatch"} {
		cmd := exec.Command("go", "build", "-C", root, "-buildvcs=false", "-trimpath", "-o", filepath.Join(bin, name), "./"+folder)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, text)
		}
	}
	return bin
}

func checkConfig(t *testing.T, bin, name, config string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(filepath.Join(bin, "verdictd"), "check", "--config", file).CombinedOutput(); err != nil {
		t.Errorf("verdictd check: %v\n%s", err, text)
	}
}

func checkSet(t *testing.T, bin string, set *appsv1.DaemonSet, configs map[string]*corev1.ConfigMap) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	pod := set.Spec.Template
	if labels := setOf(pod.Labels); !selector.Matches(labels) {
		t.Errorf("%v does not select its own pods, %v", selector, labels)
	}
	if !pod.Spec.HostNetwork {
		t.Error("the pod is not in the node's network")
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && configs[v.ConfigMap.Name] == nil {
			t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
	}
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("there is no volume %s", m.Name)
			}
		}
		s := c.SecurityContext
		if s == nil || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
			!slices.Equal(s.Capabilities.Add, []corev1.Capability{"NET_ADMIN"}) || s.Privileged != nil {
			t.Errorf("%s may more than NET_ADMIN: %+v", c.Name, s)
		}
		if err := checkCommand(bin, append(slices.Clone(c.Command), c.Args...)); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		checkPorts(t, &c)
	}
}

// checkPorts: probes and scrapes go to a port that the container has.
func checkPorts(t *testing.T, c *corev1.Container) {
	t.Helper()
	names := map[string]bool{}
	for _, p := range c.Ports {
		names[p.Name] = true
	}
	for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe} {
		if probe != nil && !names[probe.HTTPGet.Port.StrVal] {
			t.Errorf("%s is asked at port %q, which it does not have", c.Name, probe.HTTPGet.Port.StrVal)
		}
	}
}

// checkCommand asks the program for the help of the command, which has to name every flag.
func checkCommand(bin string, words []string) error {
	program := filepath.Join(bin, filepath.Base(words[0]))
	if _, err := os.Stat(program); err != nil {
		return err
	}
	parts := [][]string{words[1:]}
	if i := slices.Index(words, "--"); i >= 0 { // supervise -- run ...
		parts = [][]string{words[1:i], words[i+1:]}
	}
	for _, part := range parts {
		help, err := exec.Command(program, part[0], "--help").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s %s: %w\n%s", words[0], part[0], err, help)
		}
		for _, w := range part[1:] {
			if flag := regexp.MustCompile(`^--[a-z-]+`).FindString(w); flag != "" && !strings.Contains(string(help), " "+flag) {
				return fmt.Errorf("%s %s has no %s", words[0], part[0], flag)
			}
		}
	}
	return nil
}

type setOf map[string]string

func (s setOf) Has(label string) bool              { _, ok := s[label]; return ok }
func (s setOf) Get(label string) string            { return s[label] }
func (s setOf) Lookup(label string) (string, bool) { v, ok := s[label]; return v, ok }
