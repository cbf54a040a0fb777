// panels evaluates every query of the dashboard and of the alerts, as Grafana and Prometheus do, on the metrics of an
// operator.
//
// It reads scrapes, files named <milliseconds since 1970>-<instance>.txt, into a real time series database, and
// evaluates the queries with the real engine over the time of the scrapes. It reports each metric, label and value in a
// query that no scrape contains, each panel without data, and each legend with an unknown label. With -picture it draws
// the dashboard.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"go.yaml.in/yaml/v3"
)

// Parts of a dashboard that determine its contents.
type dashboard struct {
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	Title   string `json:"title"`
	Type    string `json:"type"`
	GridPos struct{ H, W, X, Y float64 }
	Targets []struct{ Expr, LegendFormat string }
	Field   struct {
		Defaults struct {
			Unit       string
			Custom     struct{ Stacking struct{ Mode string } }
			Thresholds struct{ Steps []step }
		}
	} `json:"fieldConfig"`
	shown []series
}

type step struct {
	Color string
	Value *float64
}

// Line of a panel, with its legend.
type series struct {
	name   string
	points []promql.FPoint
}

type rules struct {
	Groups []struct {
		Rules []struct{ Alert, Expr string }
	}
}

var placeholder = regexp.MustCompile(`\{\{(\w+)\}\}`)

func main() {
	board := flag.String("dashboard", "", "the dashboard's JSON")
	alerts := flag.String("alerts", "", "the rule file")
	scrapes := flag.String("scrapes", "", "folder with the scrapes")
	picture := flag.String("picture", "", "SVG file to draw")
	flag.Parse()
	problems, err := run(*board, *alerts, *scrapes, *picture)
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("%s", strings.Join(problems, "\n"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(boardFile, alertsFile, scrapes, picture string) ([]string, error) {
	text, err := os.ReadFile(boardFile)
	if err != nil {
		return nil, err
	}
	var board dashboard
	if err := json.Unmarshal(text, &board); err != nil {
		return nil, fmt.Errorf("%s: %w", boardFile, err)
	}
	if text, err = os.ReadFile(alertsFile); err != nil {
		return nil, err
	}
	var alerts rules
	if err := yaml.Unmarshal(text, &alerts); err != nil {
		return nil, fmt.Errorf("%s: %w", alertsFile, err)
	}
	store, err := load(scrapes)
	if err != nil {
		return nil, err
	}
	defer store.close()

	var problems []string
	complain := func(where, query string, found []string) {
		for _, problem := range found {
			problems = append(problems, fmt.Sprintf("%s: %s, in %s", where, problem, query))
		}
	}
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			complain(rule.Alert, rule.Expr, store.unknown(rule.Expr))
		}
	}
	for i := range board.Panels {
		panel := &board.Panels[i]
		for _, target := range panel.Targets {
			query := strings.NewReplacer("$__rate_interval", store.window().String(), "$job", ".*").Replace(target.Expr)
			if found := store.unknown(query); len(found) > 0 {
				complain(panel.Title, query, found)
				continue
			}
			result, err := store.evaluate(query)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", panel.Title, query, err)
			}
			if !hasData(result) {
				complain(panel.Title, query, []string{"it shows nothing"})
			}
			for _, one := range result {
				name, found := legend(target.LegendFormat, one.Metric)
				complain(panel.Title, query, found)
				panel.shown = append(panel.shown, series{name, one.Floats})
			}
		}
	}
	if picture == "" {
		return problems, nil
	}
	return problems, os.WriteFile(picture, []byte(draw(board, store.from, store.to)), 0o644)
}

func hasData(result promql.Matrix) bool {
	for _, one := range result {
		for _, point := range one.Floats {
			if !math.IsNaN(point.F) && !math.IsInf(point.F, 0) {
				return true
			}
		}
	}
	return false
}

func legend(format string, metric labels.Labels) (name string, problems []string) {
	name = placeholder.ReplaceAllStringFunc(format, func(found string) string {
		label := placeholder.FindStringSubmatch(found)[1]
		value := metric.Get(label)
		if value == "" {
			problems = append(problems, "the legend names the label "+label+", which is not there")
		}
		return value
	})
	return name, problems
}
