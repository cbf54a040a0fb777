package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

// Labels that Prometheus adds to all scrapes in a cluster.
var target = map[string]string{"namespace": "pad-operator", "job": "pad-operator"}

// All scrapes of the operator with their times.
type scrapeStore struct {
	folder   string
	db       *tsdb.DB
	engine   *promql.Engine
	parser   parser.Parser
	known    map[string]map[string]map[string]bool // metric, label, values
	from, to time.Time
	last     map[string]time.Time // by instance
	gap      time.Duration        // the longest between two scrapes of an instance
}

func load(scrapes string) (*scrapeStore, error) {
	folder, err := os.MkdirTemp("", "panels")
	if err != nil {
		return nil, err
	}
	db, err := tsdb.Open(folder, nil, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		return nil, err
	}
	syntax := parser.NewParser(parser.Options{})
	t := &scrapeStore{
		folder: folder, db: db, parser: syntax,
		known: map[string]map[string]map[string]bool{}, last: map[string]time.Time{},
	}
	files, err := filepath.Glob(filepath.Join(scrapes, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no scrapes in %s", scrapes)
	}
	for _, file := range files {
		if err := t.add(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	// A series continues for a few scrapes after its last sample.
	t.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: max(5*time.Second, 2*t.gap), Parser: syntax,
	})
	return t, nil
}

// Returns the value of $__rate_interval: some scrapes, as in Grafana.
func (t *scrapeStore) window() time.Duration {
	return max(20*time.Second, 4*t.gap).Round(time.Second)
}

func (t *scrapeStore) close() {
	t.db.Close()
	os.RemoveAll(t.folder)
}

// Adds a scrape with the labels that Prometheus would add. Labels of the scrape take precedence, as with honor_labels.
func (t *scrapeStore) add(file string) error {
	when, instance, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".txt"), "-")
	millis, err := strconv.ParseInt(when, 10, 64)
	if err != nil {
		return err
	}
	at := time.UnixMilli(millis)
	if t.from.IsZero() {
		t.from = at
	}
	t.to = at
	if before, known := t.last[instance]; known {
		t.gap = max(t.gap, at.Sub(before))
	}
	t.last[instance] = at
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	scrape, err := textparse.New(text, "text/plain", nil, textparse.ParserOptions{})
	if err != nil {
		return err
	}
	appender := t.db.Appender(context.Background())
	for {
		entry, err := scrape.Next()
		if errors.Is(err, io.EOF) {
			return appender.Commit()
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := scrape.Series()
		var sample labels.Labels
		scrape.Labels(&sample)
		builder := labels.NewBuilder(sample).Set("instance", instance)
		for name, value := range target {
			if sample.Get(name) == "" {
				builder.Set(name, value)
			}
		}
		sample = builder.Labels()
		if _, err := appender.Append(0, sample, millis, value); err != nil {
			return err
		}
		t.record(sample)
	}
}

func (t *scrapeStore) record(sample labels.Labels) {
	metric := sample.Get(labels.MetricName)
	if t.known[metric] == nil {
		t.known[metric] = map[string]map[string]bool{}
	}
	sample.Range(func(label labels.Label) {
		if t.known[metric][label.Name] == nil {
			t.known[metric][label.Name] = map[string]bool{}
		}
		t.known[metric][label.Name][label.Value] = true
	})
}

// Returns the metrics, labels and values of a query that no scrape contains.
func (t *scrapeStore) unknown(query string) []string {
	expr, err := t.parser.ParseExpr(query)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			problems = append(problems, t.unknownOf(node)...)
		case *parser.AggregateExpr:
			problems = append(problems, t.unknownLabels(node.Expr, node.Grouping)...)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				problems = append(problems, t.unknownLabels(node.LHS, node.VectorMatching.MatchingLabels)...)
				problems = append(problems, t.unknownLabels(node.RHS, node.VectorMatching.MatchingLabels)...)
			}
		}
		return nil
	})
	return problems
}

func (t *scrapeStore) unknownOf(selector *parser.VectorSelector) []string {
	known := t.known[selector.Name]
	if known == nil {
		return []string{"there is no metric " + selector.Name}
	}
	var problems []string
	for _, matcher := range selector.LabelMatchers {
		values := known[matcher.Name]
		if values == nil {
			problems = append(problems, selector.Name+" has no label "+matcher.Name)
			continue
		}
		for _, value := range strings.Split(matcher.Value, "|") {
			if value != ".*" && !values[value] {
				problems = append(problems, fmt.Sprintf("no %s has %s=%q", selector.Name, matcher.Name, value))
			}
		}
	}
	return problems
}

// Returns the labels that no metric in the expression has.
func (t *scrapeStore) unknownLabels(under parser.Expr, names []string) []string {
	var problems []string
	for _, name := range names {
		found := false
		parser.Inspect(under, func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok {
				found = found || t.known[selector.Name][name] != nil
			}
			return nil
		})
		if !found {
			problems = append(problems, "nothing here has the label "+name)
		}
	}
	return problems
}

// Evaluates a query over the time of the scrapes.
func (t *scrapeStore) evaluate(query string) (promql.Matrix, error) {
	step := max(t.to.Sub(t.from)/120, time.Second)
	rangeQuery, err := t.engine.NewRangeQuery(context.Background(), t.db, nil, query, t.from, t.to, step)
	if err != nil {
		return nil, err
	}
	return rangeQuery.Exec(context.Background()).Matrix()
}
