// Package crds only names the types that tools/crds.sh makes a CustomResourceDefinition of, so that go.mod keeps them.
package crds

import _ "github.com/fluxcd/helm-controller/api/v2"
