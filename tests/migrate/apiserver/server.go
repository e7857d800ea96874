// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel/trace/noop"

	crd "k8s.io/apiextensions-apiserver/pkg/apiserver"
	crdoptions "k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	generatedopenapi "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/token/tokenfile"
	"k8s.io/apiserver/pkg/authentication/user"
	endpoints "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/util/openapi"
	"k8s.io/apiserver/pkg/util/webhook"
)

// A server that is being put together: the options of the real one, of which etcd's are flags here.
type server struct {
	o *crdoptions.CustomResourceDefinitionsServerOptions
}

func newServer(flags *pflag.FlagSet) *server {
	o := crdoptions.NewCustomResourceDefinitionsServerOptions(nil, nil)
	o.RecommendedOptions.Etcd.StorageConfig.Prefix = "/registry"
	o.RecommendedOptions.Etcd.AddFlags(flags)
	o.ServerRunOptions.AddUniversalFlags(flags)
	return &server{o}
}

func (s *server) url() string {
	return "https://" + s.o.RecommendedOptions.SecureServing.Listener.Addr().String()
}

func (s *server) certFile() string {
	return s.o.RecommendedOptions.SecureServing.ServerCert.CertKey.CertFile
}

// complete makes the server of the options. Nothing of it asks another API server: there is none.
func (s *server) complete(o options, token, rotate string) (*genericapiserver.GenericAPIServer, error) {
	if err := s.listen(o); err != nil {
		return nil, err
	}
	if err := s.o.ServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, err
	}
	if err := s.o.Complete(); err != nil {
		return nil, err
	}
	generic, err := s.generic(o, token, rotate)
	if err != nil {
		return nil, err
	}
	config := crd.Config{
		GenericConfig: generic,
		ExtraConfig: crd.ExtraConfig{
			CRDRESTOptionsGetter: crdoptions.NewCRDRESTOptionsGetter(*s.o.RecommendedOptions.Etcd,
				generic.ResourceTransformers, generic.StorageObjectCountTracker),
			ServiceResolver: noServices{},
			AuthResolverWrapper: webhook.NewDefaultAuthenticationInfoResolverWrapper(nil, nil,
				generic.LoopbackClientConfig, noop.NewTracerProvider()),
		},
	}
	lists := &groupLists{}
	definitions, err := config.Complete().New(genericapiserver.NewEmptyDelegateWithCustomHandler(lists))
	if err != nil {
		return nil, err
	}
	lists.informers = definitions.Informers
	return definitions.GenericAPIServer, nil
}

func (s *server) listen(o options) error {
	listener, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	address := listener.Addr().(*net.TCPAddr)
	serving := s.o.RecommendedOptions.SecureServing
	serving.Listener = listener
	serving.BindPort = address.Port
	serving.BindAddress = address.IP
	serving.ExternalAddress = address.IP
	serving.ServerCert.CertDirectory = o.dir
	serving.ServerCert.PairName = "server"
	serving.ServerCert.CertKey.CertFile = filepath.Join(o.dir, "server.crt")
	serving.ServerCert.CertKey.KeyFile = filepath.Join(o.dir, "server.key")
	return s.makeCertificate(address.IP)
}

// makeCertificate: a self-signed one, kept for the next start.
func (s *server) makeCertificate(address net.IP) error {
	cert := &s.o.RecommendedOptions.SecureServing.ServerCert
	kept := cert.CertKey
	cert.CertKey = genericoptions.CertKey{}
	if err := s.o.RecommendedOptions.SecureServing.MaybeDefaultWithSelfSignedCerts("localhost", nil,
		[]net.IP{address}); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if cert.CertKey != kept {
		return errors.New("certificate: written where it was not expected")
	}
	return nil
}

func (s *server) generic(o options, token, rotate string) (*genericapiserver.RecommendedConfig, error) {
	config := genericapiserver.NewRecommendedConfig(crd.Codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	if err := s.o.ServerRunOptions.ApplyTo(&config.Config); err != nil {
		return nil, err
	}
	if err := s.o.RecommendedOptions.Etcd.ApplyTo(&config.Config); err != nil {
		return nil, err
	}
	if err := s.o.RecommendedOptions.SecureServing.ApplyToConfig(&config.Config); err != nil {
		return nil, err
	}
	if err := s.o.APIEnablement.ApplyTo(&config.Config, crd.DefaultAPIResourceConfigSource(),
		crd.Scheme); err != nil {
		return nil, err
	}
	config.Authentication.Authenticator = bearertoken.New(tokenfile.New(map[string]*user.DefaultInfo{
		token:  {Name: "operator", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}},
		rotate: {Name: "kekd-rotate", Groups: []string{user.AllAuthenticated}},
	}))
	config.Authorization.Authorizer = roles{o.rbac}
	config.AdmissionControl = admission.NewChainHandler()
	// Without a description of its types the server does not check an object against them.
	types := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(generatedopenapi.GetOpenAPIDefinitions)
	namer := endpoints.NewDefinitionNamer(crd.Scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(types, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(types, namer)
	return config, nil
}

// Conversion by a webhook in a service: no test has one.
type noServices struct{}

func (noServices) ResolveEndpoint(_, name string, _ int32) (*url.URL, error) {
	return nil, fmt.Errorf("no service %s: this server knows none", name)
}
