// Prints the fields of the kubelet's configuration file with their types, to all depths, as JSON.
//
// It runs in a copy of a recipe for Kubernetes: the compiler knows the types, and no reader of source text has to.
// Output: {"KubeletConfiguration": {"maxPods": "int32", "registerWithTaints": "list of Taint", …}, "Taint": {…}, …}.
// A type is boolean, a kind of integer as Go names it (int32), number, string, duration, quantity, any, "list of TYPE",
// "map of TYPE", or another struct of the output.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubelet/config/v1beta1"
)

// A type with a form of its own in JSON says it for OpenAPI.
type described interface{ OpenAPISchemaType() []string }

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// structs has, by the name of a struct, the types of its fields by their names in JSON.
type structs map[string]map[string]string

func main() {
	found, origins := structs{}, map[string]string{}
	found.name(reflect.TypeFor[v1beta1.KubeletConfiguration](), origins)
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// name returns how the output calls a type, and adds a struct on its first use. origins has the package of each struct.
func (found structs) name(kind reflect.Type, origins map[string]string) string {
	if kind.Kind() == reflect.Pointer {
		return found.name(kind.Elem(), origins)
	}
	switch value := reflect.Zero(kind).Interface().(type) {
	case metav1.Duration:
		return "duration"
	case resource.Quantity, resource.QuantityValue:
		return "quantity"
	case described:
		return strings.Join(value.OpenAPISchemaType(), " or ")
	}
	if reflect.PointerTo(kind).Implements(unmarshaler) {
		return "any"
	}
	switch kind.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return kind.Kind().String()
	case reflect.Slice:
		return "list of " + found.name(kind.Elem(), origins)
	case reflect.Map:
		return "map of " + found.name(kind.Elem(), origins)
	case reflect.Struct:
		return found.add(kind, origins)
	}
	panic(fmt.Sprintf("%s has no form in JSON that is known here", kind))
}

func (found structs) add(kind reflect.Type, origins map[string]string) string {
	name := kind.Name()
	if origin, known := origins[name]; known {
		if origin != kind.PkgPath() {
			panic(fmt.Sprintf("%s is a struct of %s and of %s", name, origin, kind.PkgPath()))
		}
		return name
	}
	origins[name], found[name] = kind.PkgPath(), map[string]string{}
	// The fields of embedded structs are among those of the struct, as in JSON.
	for _, field := range reflect.VisibleFields(kind) {
		if key, _, _ := strings.Cut(field.Tag.Get("json"), ","); key != "" && key != "-" {
			found[name][key] = found.name(field.Type, origins)
		}
	}
	return name
}
