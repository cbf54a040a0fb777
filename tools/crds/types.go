// Package crds imports the types from which tools/crds.sh generates a CustomResourceDefinition, so that go.mod keeps
// them.
package crds

import _ "github.com/fluxcd/helm-controller/api/v2"
