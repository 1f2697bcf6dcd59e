package demo

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// language is what the talk's function is written in.
const language = "python3"

// greeting is what the talk's call says, and what its function returns.
const greeting = "Hello world!"

func functionName(c class) string { return "hello-" + c.Name }

// functions is the third act: the talk's Kubeless function, from its source.
func (d *demo) functions(ctx context.Context) error {
	d.stage.title("3. A Kubeless function chooses its sandbox: the talk's test.py")
	for i, c := range d.classes {
		r, err := d.deployAndCall(ctx, c)
		if err != nil {
			return err
		}
		d.results = append(d.results, r)
		d.stage.note("%s: from source to first answer in %s, then %s each", c.Name, seconds(r.cold), brief(r.warm))
		if i < len(d.classes)-1 {
			d.stage.say("")
		}
	}
	return nil
}

func (d *demo) deployAndCall(ctx context.Context, c class) (result, error) {
	name := functionName(c)
	_, deployed, err := d.stage.redoubt(ctx, "function", "deploy", name, "--runtime", language,
		"--from-file", "test.py", "--handler", "test.hello", "--runtime-class", c.Name)
	if err != nil {
		return result{}, err
	}
	answer, called, err := d.stage.redoubt(ctx, "function", "call", name, "-d", greeting)
	if err != nil {
		return result{}, err
	}
	if strings.TrimSpace(answer) != greeting {
		return result{}, fmt.Errorf("function %s answered %q, not what it was sent", name, answer)
	}
	if err := d.inClass(ctx, name, c); err != nil {
		return result{}, err
	}
	warm, err := d.warm(ctx, http.MethodPost, name+".default.localhost", greeting)
	return result{workload: "function", class: c, cold: deployed + called, warm: warm}, err
}
