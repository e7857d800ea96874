// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	apiGroup   = "kekd.test"
	namespaces = 10
	workers    = 8
	page       = 500
)

type metadata struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type object struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Data       map[string]string `json:"data"`
}

func collection(resource string) string {
	return "/apis/" + apiGroup + "/v1/" + resource
}

func inNamespace(resource, namespace string) string {
	return "/apis/" + apiGroup + "/v1/namespaces/" + namespace + "/" + resource
}

func name(i int) (string, string) {
	return fmt.Sprintf("ns-%d", i%namespaces), fmt.Sprintf("object-%06d", i)
}

// content: between 32 bytes and 2 KiB of text that only this object has.
func content(resource string, i int) map[string]string {
	sum := sha256.Sum256([]byte(resource + "/" + strconv.Itoa(i)))
	text := hex.EncodeToString(sum[:])
	return map[string]string{
		"password": text,
		"padding":  strings.Repeat(text[:16], int(sum[0])/2),
	}
}

// each calls do for all numbers below count, some at a time.
func each(count int, do func(i int) error) error {
	var group errgroup.Group

	group.SetLimit(workers)
	for i := range count {
		group.Go(func() error { return do(i) })
	}
	return group.Wait()
}

func (c *client) kind(resource string) (string, error) {
	var list struct{ Resources []struct{ Name, Kind string } }

	if err := c.call(http.MethodGet, "/apis/"+apiGroup+"/v1", "", nil, &list); err != nil {
		return "", err
	}
	for _, r := range list.Resources {
		if r.Name == resource {
			return r.Kind, nil
		}
	}
	return "", fmt.Errorf("%s is not served", resource)
}

func (c *client) create(resource string, count int) error {
	kind, err := c.kind(resource)
	if err != nil {
		return err
	}
	return each(count, func(i int) error {
		namespace, name := name(i)
		return c.post(inNamespace(resource, namespace), object{
			APIVersion: apiGroup + "/v1",
			Kind:       kind,
			Metadata:   metadata{Name: name, Namespace: namespace},
			Data:       content(resource, i),
		})
	})
}

// verify reads everything page by page, as kubectl does.
func (c *client) verify(resource string, count int) error {
	seen, next := 0, ""

	for {
		var list struct {
			Metadata struct{ Continue string }
			Items    []object
		}
		query := fmt.Sprintf("?limit=%d&continue=%s", page, url.QueryEscape(next))
		if err := c.call(http.MethodGet, collection(resource)+query, "", nil, &list); err != nil {
			return err
		}
		for _, o := range list.Items {
			if err := check(resource, o); err != nil {
				return err
			}
		}
		seen += len(list.Items)
		next = list.Metadata.Continue
		if next == "" {
			break
		}
	}
	if seen != count {
		return fmt.Errorf("%s: %d objects, expected %d", resource, seen, count)
	}
	return nil
}

func check(resource string, o object) error {
	var i int

	if _, err := fmt.Sscanf(o.Metadata.Name, "object-%d", &i); err != nil {
		return fmt.Errorf("%s: not one of ours", o.Metadata.Name)
	}
	if namespace, _ := name(i); namespace != o.Metadata.Namespace {
		return fmt.Errorf("%s: in namespace %s", o.Metadata.Name, o.Metadata.Namespace)
	}
	if !maps.Equal(content(resource, i), o.Data) {
		return fmt.Errorf("%s: another content", o.Metadata.Name)
	}
	return nil
}

// churn says "churning" after its first change, and ends with standard input.
func (c *client) churn(resource string, count int) error {
	ended := make(chan struct{})
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	for n := 0; ; n++ {
		select {
		case <-ended:
			return nil
		default:
		}
		namespace, name := name(n % count)
		path := inNamespace(resource, namespace) + "/" + name
		if err := c.annotate(path, map[string]string{"churn": strconv.Itoa(n)}); err != nil {
			return err
		}
		if n == 0 {
			fmt.Println("churning")
		}
	}
}

func (c *client) annotate(path string, annotations map[string]string) error {
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations}}
	return c.call(http.MethodPatch, path, "application/merge-patch+json", patch, nil)
}
