// Package manifests renders what is below deploy for Kubernetes and reads it into the types of the API, so that a test
// sees what a cluster would get. It is a module of its own, so that those types do not get into the daemons.
package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	documents "k8s.io/apimachinery/pkg/util/yaml"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// RenderDocuments returns the YAML documents that kustomize makes of the folder, as kubectl apply -k sends them.
func RenderDocuments(folder string) ([]string, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", folder, err)
	}
	var rendered []string
	for _, resource := range resources.Resources() {
		document, err := resource.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", folder, err)
		}
		rendered = append(rendered, string(document))
	}
	return rendered, nil
}

// Render returns the objects that kustomize makes of the folder.
func Render(folder string) ([]metav1.Object, error) {
	rendered, err := RenderDocuments(folder)
	if err != nil {
		return nil, err
	}
	return Decode([]byte(strings.Join(rendered, "---\n")))
}

// Decode reads YAML documents into the types of the API. A field that the API does not know, or one that is given twice,
// is an error, and so is a kind that none of our manifests uses.
func Decode(text []byte) ([]metav1.Object, error) {
	var objects []metav1.Object
	reader := documents.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, err := decode(document)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

func decode(document []byte) (metav1.Object, error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, err
	}
	var kind metav1.TypeMeta
	if err := json.UnmarshalCaseSensitivePreserveInts(text, &kind); err != nil {
		return nil, err
	}
	object, err := empty(kind)
	if err != nil {
		return nil, err
	}
	unknown, err := json.UnmarshalStrict(text, object)
	if err := errors.Join(append(unknown, err)...); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
	}
	return object, nil
}

// empty returns an object to decode into.
func empty(kind metav1.TypeMeta) (metav1.Object, error) {
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		return &corev1.Namespace{}, nil
	case "v1 Service":
		return &corev1.Service{}, nil
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}, nil
	case "apps/v1 StatefulSet":
		return &appsv1.StatefulSet{}, nil
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}, nil
	case "networking.k8s.io/v1 NetworkPolicy":
		return &networkingv1.NetworkPolicy{}, nil
	case "serving.knative.dev/v1 Service":
		return &servingv1.Service{}, nil
	default:
		return nil, fmt.Errorf("%q of %q: the tests do not know this kind", kind.Kind, kind.APIVersion)
	}
}
