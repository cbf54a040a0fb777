// kstatus prints how kubectl, Flux and Argo CD judge objects: Current, InProgress, Failed and so on.
//
// It reads a List of objects as `kubectl get --output json` prints it, and prints a line for each:
//
//	Kind/name <kstatus> <Argo CD's health> <Flux's health check expressions>
//
// The first word comes from the library that Flux and others use. The second comes from the Lua script given with -lua,
// run in the interpreter that Argo CD uses. The third comes from the expressions given with -flux, with Flux's own
// rules: stale is InProgress, then the expressions in the order inProgress, failed, current.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

func main() {
	script := flag.String("lua", "", "file with the Lua of an Argo CD health customization")
	checks := flag.String("flux", "", "file with a list of Flux healthCheckExprs, as YAML")
	flag.Parse()
	if err := run(*script, *checks); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(scriptFile, checksFile string) error {
	script, err := os.ReadFile(scriptFile)
	if err != nil {
		return err
	}
	checks, err := readChecks(checksFile)
	if err != nil {
		return err
	}
	var list unstructured.UnstructuredList
	if err := json.NewDecoder(os.Stdin).Decode(&list); err != nil {
		return err
	}
	for i := range list.Items {
		object := &list.Items[i]
		name := object.GetKind() + "/" + object.GetName()
		computed, err := status.Compute(object)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		health, err := argoHealth(string(script), object.Object)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, scriptFile, err)
		}
		flux, err := checks.evaluate(object)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", name, checksFile, err)
		}
		fmt.Println(name, computed.Status, health, flux)
	}
	return nil
}

// argoHealth runs a health script as Argo CD does: the object is the global obj, and the script returns a table with
// status and message.
func argoHealth(script string, object map[string]any) (string, error) {
	state := lua.NewState()
	defer state.Close()
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", errors.New("the script returns no table")
	}
	health, message := answer.RawGetString("status"), answer.RawGetString("message")
	switch health.String() {
	case "Healthy", "Progressing", "Degraded", "Suspended":
	default:
		return "", fmt.Errorf("the script returns the status %s, which Argo CD does not know", health)
	}
	if message.Type() != lua.LTString || message.String() == "" {
		return "", errors.New("the script returns no message")
	}
	return health.String(), nil
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, field := range value {
			table.RawSetString(key, toLua(state, field))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	default:
		return lua.LNil
	}
}

// check is one of Flux's healthCheckExprs: the expressions for one kind.
type check struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Current    string `json:"current"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
}

type checks []check

func readChecks(file string) (checks, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var read checks
	return read, yaml.UnmarshalStrict(text, &read)
}

func (checks checks) evaluate(object *unstructured.Unstructured) (status.Status, error) {
	observed, _, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if err != nil {
		return "", err
	}
	if observed < object.GetGeneration() {
		return status.InProgressStatus, nil
	}
	for _, check := range checks {
		if check.APIVersion != object.GetAPIVersion() || check.Kind != object.GetKind() {
			continue
		}
		for _, rule := range []struct {
			expression string
			outcome    status.Status
		}{
			{check.InProgress, status.InProgressStatus},
			{check.Failed, status.FailedStatus},
			{check.Current, status.CurrentStatus},
		} {
			if rule.expression == "" {
				continue
			}
			holds, err := holds(rule.expression, object.Object)
			if err != nil {
				return "", fmt.Errorf("%s: %w", rule.expression, err)
			}
			if holds {
				return rule.outcome, nil
			}
		}
		return status.InProgressStatus, nil
	}
	return "", fmt.Errorf("there is no health check for %s", object.GetKind())
}

func holds(expression string, object map[string]any) (bool, error) {
	environment, err := cel.NewEnv(
		ext.Strings(),
		cel.Variable("metadata", cel.DynType), cel.Variable("spec", cel.DynType), cel.Variable("status", cel.DynType),
	)
	if err != nil {
		return false, err
	}
	ast, issues := environment.Compile(expression)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(ast)
	if err != nil {
		return false, err
	}
	answer, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	holds, ok := answer.Value().(bool)
	if !ok {
		return false, errors.New("the expression gives no bool")
	}
	return holds, nil
}
