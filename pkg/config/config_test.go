package config_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/restate-go/restate/pkg/config"
)

type topLevel struct {
	BaseDir string          `yaml:"base_dir" split_words:"true"`
	Grace   config.Duration `yaml:"grace"`
	Worker  workerSection   `yaml:"worker" ignored:"true"`
}

type workerSection struct {
	Partitions uint32       `yaml:"partitions"`
	CacheSize  config.Size  `yaml:"cache_size" split_words:"true"`
	Retry      retrySection `yaml:"retry" ignored:"true"`
}

type retrySection struct {
	MaxInterval config.Duration `yaml:"max_interval" split_words:"true"`
	Disabled    bool            `yaml:"disabled"`
}

type ingressSection struct {
	BindAddress string        `yaml:"bind_address" split_words:"true"`
	Token       config.Secret `yaml:"token"`
	Origins     []string      `yaml:"origins"`
}

func defaults() (*topLevel, *ingressSection) {
	return &topLevel{
		BaseDir: "target", Grace: config.Duration(time.Minute),
		Worker: workerSection{Partitions: 8, CacheSize: 1 << 20, Retry: retrySection{MaxInterval: config.Duration(10 * time.Second)}},
	}, &ingressSection{BindAddress: "0.0.0.0:9090"}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restate.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestLayersOverrideEachOther(t *testing.T) {
	top, ingress := defaults()
	t.Setenv("RESTATE_WORKER__CACHE_SIZE", "2MiB")
	t.Setenv("RESTATE_WORKER__RETRY__MAX_INTERVAL", "1h 30m")
	t.Setenv("RESTATE_BASE_DIR", "/from/environment")
	warnings, err := config.Load(config.Layers{
		File: file(t, "base_dir: /from/file\nworker:\n  partitions: 4\n  cache_size: 512KiB\n  retry: {disabled: true}\n"+
			"ingress:\n  origins: [a, b]\nmeta:\n  left_to: meta\n"),
		Settings: []string{"base_dir=/from/flag", "ingress.token=hidden"},
	}, []config.Section{{Into: top}, {Name: "ingress", Into: ingress}})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, &topLevel{
		BaseDir: "/from/flag", Grace: config.Duration(time.Minute),
		Worker: workerSection{Partitions: 4, CacheSize: 2 << 20, Retry: retrySection{MaxInterval: config.Duration(90 * time.Minute), Disabled: true}},
	}, top)
	require.Equal(t, &ingressSection{BindAddress: "0.0.0.0:9090", Token: "hidden", Origins: []string{"a", "b"}}, ingress)
}

func TestErrorsNameWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		file     string
		settings []string
		env      map[string]string
		want     string
	}{
		"unknown top-level key": {file: "base_dri: x\n", want: `restate.yaml:1: unknown key "base_dri"; did you mean "base_dir"?`},
		"unknown nested key": {
			file: "worker:\n  partitions: 1\n  retry:\n    max_intervall: 1s\n",
			want: `restate.yaml:4: unknown key "worker.retry.max_intervall"; did you mean "worker.retry.max_interval"?`,
		},
		"unlike any key":        {file: "\nzzz: 1\n", want: `restate.yaml:2: unknown key "zzz"`},
		"key given twice":       {file: "grace: 1s\ngrace: 2s\n", want: `restate.yaml:2: key "grace" is given twice`},
		"section as a scalar":   {file: "worker: 5\n", want: `restate.yaml:1: "worker" is a section with keys of its own`},
		"wrong kind":            {file: "worker:\n  partitions: many\n", want: "restate.yaml:2: worker.partitions: "},
		"duration without unit": {file: "grace: 5\n", want: `restate.yaml:1: grace: "5" is not a duration`},
		"not YAML":              {file: "a: [\n", want: "restate.yaml: yaml: "},
		"two documents":         {file: "grace: 1s\n---\ngrace: 2s\n", want: "more than one YAML document"},
		"bad variable": {
			env: map[string]string{"RESTATE_WORKER__CACHE_SIZE": "big"}, want: `environment variable RESTATE_WORKER__CACHE_SIZE: "big" is not a size`,
		},
		"bad setting":     {settings: []string{"grace"}, want: "write it as section.key=value"},
		"unknown setting": {settings: []string{"worker.partition=1"}, want: `setting "worker.partition=1": unknown key "worker.partition"; did you mean "worker.partitions"?`},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			top, ingress := defaults()
			_, err := config.Load(config.Layers{File: file(t, test.file), Settings: test.settings},
				[]config.Section{{Into: top}, {Name: "ingress", Into: ingress}})
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestUnknownVariablesAreWarnings(t *testing.T) {
	t.Setenv("RESTATE_INGRESS__BINDADDRESS", "x")
	t.Setenv("RESTATE_META__WHATEVER", "of another daemon")
	t.Setenv("RESTATE_DEBUG_LOGGING", "of the SDK")
	// Kubernetes sets these beside a Service named restate.
	t.Setenv("RESTATE_PORT", "tcp://10.0.0.1:8081")
	t.Setenv("RESTATE_PORT_8081_TCP_ADDR", "10.0.0.1")
	t.Setenv("RESTATE_SERVICE_HOST", "10.0.0.1")
	t.Setenv("RESTATE_SERVICE_PORT_META", "8081")
	top, ingress := defaults()
	warnings, err := config.Load(config.Layers{File: file(t, "")}, []config.Section{{Into: top}, {Name: "ingress", Into: ingress}})
	require.NoError(t, err)
	require.Equal(t, []string{`environment variable RESTATE_INGRESS__BINDADDRESS is not known and has no effect; ` +
		`did you mean "RESTATE_INGRESS__BIND_ADDRESS"?`}, warnings)
}

func TestAliasYieldsToTheVariableItself(t *testing.T) {
	type endpoint struct {
		HTTPProxy  string `yaml:"http_proxy" split_words:"true"`
		HTTPSProxy string `yaml:"https_proxy" split_words:"true"`
	}
	type section struct {
		Endpoint endpoint `yaml:"endpoint" ignored:"true"`
	}
	t.Setenv("HTTP_PROXY", "http://alias:1")
	t.Setenv("HTTPS_PROXY", "http://alias:2")
	t.Setenv("NO_PROXY", "of no concern to these sections")
	t.Setenv("RESTATE_WORKER__ENDPOINT__HTTPS_PROXY", "http://own:2")
	meta, worker := &section{}, &section{}
	_, err := config.Load(config.Layers{File: file(t, "meta: {endpoint: {http_proxy: http://file:1}}")},
		[]config.Section{{Name: "meta", Into: meta}, {Name: "worker", Into: worker}})
	require.NoError(t, err)
	require.Equal(t, &section{Endpoint: endpoint{HTTPProxy: "http://alias:1", HTTPSProxy: "http://alias:2"}}, meta)
	require.Equal(t, &section{Endpoint: endpoint{HTTPProxy: "http://alias:1", HTTPSProxy: "http://own:2"}}, worker)
}

func TestFileNamedByEnvironment(t *testing.T) {
	t.Setenv("RESTATE_CONFIG", filepath.Join(t.TempDir(), "absent.yaml"))
	top, _ := defaults()
	_, err := config.Load(config.Layers{}, []config.Section{{Into: top}})
	require.ErrorIs(t, err, os.ErrNotExist, "a file that was asked for must be there")

	t.Setenv("RESTATE_CONFIG", "")
	t.Chdir(t.TempDir())
	_, err = config.Load(config.Layers{}, []config.Section{{Into: top}})
	require.NoError(t, err, "the default file may be absent")
}

func TestTagsThatDisagreeAreRefused(t *testing.T) {
	_, err := config.Load(config.Layers{File: file(t, "")}, []config.Section{{Name: "ingress", Into: &struct {
		BindAddress string `yaml:"bind_address"`
	}{}}})
	require.ErrorContains(t, err, "RESTATE_INGRESS__BINDADDRESS")
}

func TestStructsShareASection(t *testing.T) {
	type client struct {
		URL string `yaml:"url"`
	}
	type server struct {
		BindAddress string `yaml:"bind_address" split_words:"true"`
	}
	toClient, toServer := &client{}, &server{}
	into := []config.Section{{Name: "broker", Into: toClient}, {Name: "broker", Into: toServer}}
	t.Setenv("RESTATE_BROKER__BIND_ADDRESS", ":4222")
	_, err := config.Load(config.Layers{File: file(t, "broker: {url: nats://host}")}, into)
	require.NoError(t, err)
	require.Equal(t, "nats://host", toClient.URL)
	require.Equal(t, ":4222", toServer.BindAddress)
	dump, err := config.Dump(into)
	require.NoError(t, err)
	require.Equal(t, "broker:\n    url: nats://host\n    bind_address: :4222\n", string(dump))
}

func TestDumpIsLoadableAndMasked(t *testing.T) {
	top, ingress := defaults()
	ingress.Token, ingress.Origins = "hidden", []string{"nats://user:hidden@host:4222"}
	dump, err := config.Dump([]config.Section{{Into: top}, {Name: "ingress", Into: ingress}})
	require.NoError(t, err)
	require.NotContains(t, string(dump), "hidden")
	require.Contains(t, string(dump), "grace: 1m\n")
	require.Contains(t, string(dump), "cache_size: 1MiB\n")

	again, ingressAgain := &topLevel{}, &ingressSection{}
	_, err = config.Load(config.Layers{File: file(t, string(dump))}, []config.Section{{Into: again}, {Name: "ingress", Into: ingressAgain}})
	require.NoError(t, err)
	require.Equal(t, top, again)
}

func FuzzLoad(f *testing.F) {
	f.Add("worker: &w {partitions: 1}\ningress: *w\n", "grace=1h 30m")
	f.Add("a: *b", "x.y.z=[")
	f.Fuzz(func(t *testing.T, text, setting string) {
		top, ingress := defaults()
		into := []config.Section{{Into: top}, {Name: "ingress", Into: ingress}}
		if _, err := config.Load(config.Layers{File: file(t, text), Settings: []string{setting}}, into); err == nil {
			_, err = config.Dump(into)
			require.NoError(t, err)
		}
	})
}
