// SPDX-License-Identifier: Apache-2.0

// Objects makes the custom resources of the tests of the migration and says whether they are still what
// they were: what is in each follows from its name.
//
//	objects KUBECONFIG define RESOURCE KIND     a CustomResourceDefinition of the group kekd.test
//	objects KUBECONFIG create RESOURCE COUNT    COUNT objects, in ten namespaces
//	objects KUBECONFIG verify RESOURCE COUNT    read all: as many, and each as it was made
//	objects KUBECONFIG churn RESOURCE COUNT     change one after another until standard input ends
//
// churn touches annotations only. The exit status is 0, 1 (failed or another content) or 2 (usage).
package main

import (
	"fmt"
	"os"
	"strconv"
)

type command func(c *client, resource, argument string) error

var commands = map[string]command{
	"define": (*client).define,
	"create": counted((*client).create),
	"verify": counted((*client).verify),
	"churn":  counted((*client).churn),
}

func counted(run func(c *client, resource string, count int) error) command {
	return func(c *client, resource, argument string) error {
		count, err := strconv.Atoi(argument)
		if err != nil || count < 1 {
			return fmt.Errorf("%q is not a number of objects", argument)
		}
		return run(c, resource, count)
	}
}

func main() {
	if len(os.Args) != 5 {
		usage()
	}
	command, ok := commands[os.Args[2]]
	if !ok {
		usage()
	}
	c, err := newClient(os.Args[1])
	if err == nil {
		err = command(c, os.Args[3], os.Args[4])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "objects:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: objects KUBECONFIG define|create|verify|churn RESOURCE KIND|COUNT")
	os.Exit(2)
}
