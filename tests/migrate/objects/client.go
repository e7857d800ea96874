// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// A client of the API server that sends and reads plain JSON.
type client struct {
	http *http.Client
	host string
}

func newClient(kubeconfig string) (*client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &client{h, config.Host}, nil
}

// call sends body, if it is not nil, and decodes the answer into ret, if that is not nil.
func (c *client) call(method, path, contentType string, body, ret any) error {
	var in io.Reader

	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(data)
	}
	request, err := http.NewRequest(method, c.host+path, in)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", contentType)
	answer, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, data)
	}
	if ret == nil {
		return nil
	}
	return json.Unmarshal(data, ret)
}

func (c *client) post(path string, body any) error {
	return c.call(http.MethodPost, path, "application/json", body, nil)
}

func (c *client) define(resource, kind string) error {
	type m = map[string]any
	schema := m{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	crd := m{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   m{"name": resource + "." + apiGroup},
		"spec": m{
			"group": apiGroup,
			"scope": "Namespaced",
			"names": m{"plural": resource, "kind": kind},
			"versions": []m{{
				"name": "v1", "served": true, "storage": true,
				"schema": m{"openAPIV3Schema": schema},
			}},
		},
	}
	if err := c.post(definitions, crd); err != nil {
		return err
	}
	return c.awaitServed(resource)
}

// awaitServed returns when the resource is served, a moment after its definition.
func (c *client) awaitServed(resource string) error {
	for range 200 {
		if c.call(http.MethodGet, collection(resource)+"?limit=1", "", nil, nil) == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("%s is defined and still not served", resource)
}
