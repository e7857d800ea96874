// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"net/http"

	"k8s.io/apiextensions-apiserver/pkg/client/informers/externalversions"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The lists of groups, /api and /apis, which kube-apiserver's aggregator makes of all its servers. kubectl
// finds nothing without them.
type groupLists struct {
	informers externalversions.SharedInformerFactory
}

func (g *groupLists) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api":
		answer(w, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{}})
	case "/apis":
		list, err := g.groups()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, list)
	default:
		http.NotFound(w, r)
	}
}

func (g *groupLists) groups() (*metav1.APIGroupList, error) {
	list := &metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
		Groups:   []metav1.APIGroup{group("apiextensions.k8s.io", "v1")},
	}
	crds, err := g.informers.Apiextensions().V1().CustomResourceDefinitions().Lister().List(labels.Everything())
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, crd := range crds {
		if !known[crd.Spec.Group] {
			known[crd.Spec.Group] = true
			list.Groups = append(list.Groups, group(crd.Spec.Group, crd.Spec.Versions[0].Name))
		}
	}
	return list, nil
}

func group(name, version string) metav1.APIGroup {
	v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
	return metav1.APIGroup{
		Name:             name,
		Versions:         []metav1.GroupVersionForDiscovery{v},
		PreferredVersion: v,
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
