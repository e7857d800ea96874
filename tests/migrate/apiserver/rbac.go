// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// What kube-apiserver gives to everybody who is authenticated: system:discovery, as far as there is something
// to discover here.
var discovery = rbacv1.PolicyRule{
	Verbs:           []string{"get"},
	NonResourceURLs: []string{"/api", "/api/*", "/apis", "/apis/*", "/version", "/healthz", "/livez", "/readyz"},
}

// roles grants what the ClusterRoles of a file grant to whom its ClusterRoleBindings name, by the rules of
// rbac.authorization.k8s.io, and everything to system:masters. The file is read for each request, so that a
// test changes it as kubectl would. kube-apiserver's own authorizer is in no package.
type roles struct {
	file string
}

func (r roles) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(a.GetUser().GetGroups(), user.SystemPrivilegedGroup) {
		return authorizer.DecisionAllow, "", nil
	}
	rules, err := r.rulesOf(a.GetUser())
	if err != nil {
		return authorizer.DecisionNoOpinion, "", err
	}
	for _, rule := range append(rules, discovery) {
		if allows(rule, a) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

func (r roles) rulesOf(u user.Info) ([]rbacv1.PolicyRule, error) {
	if r.file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(r.file)
	if err != nil {
		return nil, err
	}
	granted := map[string][]rbacv1.PolicyRule{}
	var names []string
	for _, text := range strings.Split(string(data), "\n---\n") {
		var role rbacv1.ClusterRole
		var binding rbacv1.ClusterRoleBinding
		if yaml.UnmarshalStrict([]byte(text), &role) == nil && role.Kind == "ClusterRole" {
			granted[role.Name] = role.Rules
		} else if err := yaml.UnmarshalStrict([]byte(text), &binding); err != nil {
			return nil, fmt.Errorf("%s: %w", r.file, err)
		} else if isNamed(binding, u) {
			names = append(names, binding.RoleRef.Name)
		}
	}
	var rules []rbacv1.PolicyRule
	for _, name := range names {
		rules = append(rules, granted[name]...)
	}
	return rules, nil
}

func isNamed(binding rbacv1.ClusterRoleBinding, u user.Info) bool {
	return slices.ContainsFunc(binding.Subjects, func(s rbacv1.Subject) bool {
		return s.Kind == rbacv1.UserKind && s.Name == u.GetName() ||
			s.Kind == rbacv1.GroupKind && slices.Contains(u.GetGroups(), s.Name)
	})
}

func allows(rule rbacv1.PolicyRule, a authorizer.Attributes) bool {
	if !covers(rule.Verbs, a.GetVerb()) {
		return false
	}
	if !a.IsResourceRequest() {
		return slices.ContainsFunc(rule.NonResourceURLs, func(url string) bool {
			start, any := strings.CutSuffix(url, "*")
			return url == a.GetPath() || any && strings.HasPrefix(a.GetPath(), start)
		})
	}
	resource := a.GetResource()
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	return covers(rule.APIGroups, a.GetAPIGroup()) && covers(rule.Resources, resource) &&
		(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.GetName()))
}

func covers(list []string, one string) bool {
	return slices.Contains(list, one) || slices.Contains(list, "*")
}
