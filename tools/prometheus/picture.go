package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Sizes in pixels: of a column and a row of the dashboard's grid, and of the margins of a panel and a graph.
const (
	column, unit       = 66.0, 34.0
	gap, head          = 8.0, 56.0
	left, right        = 56.0, 14.0
	above, below, line = 34.0, 46.0, 16.0
	letter             = 6.7
)

var colours = []string{
	"#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#fade2a", "#96d98d", "#ffa6b0",
	"#ca95e5", "#37872d", "#1f60c4", "#fa6400", "#c4162a", "#8f3bb8",
}

var named = map[string]string{"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c"}

// Draws a dashboard as Grafana shows it.
func draw(board dashboard, from, to time.Time) string {
	var svg strings.Builder
	bottom := 0.0
	for _, panel := range board.Panels {
		bottom = max(bottom, panel.GridPos.Y+panel.GridPos.H)
	}
	width, height := 24*column+gap, head+bottom*unit+gap
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="Inter, Helvetica, Arial, sans-serif" font-size="12" fill="#ccccdc">`+"\n", width, height)
	fmt.Fprintf(&svg, `<rect width="%.0f" height="%.0f" fill="#111217"/>`+"\n", width, height)
	text(&svg, 16, 36, "20", "start", "#ccccdc", board.Title)
	over := fmt.Sprintf("%d s of a run against simulated services", int(to.Sub(from).Seconds()))
	text(&svg, width-16, 36, "13", "end", "#8e8e9a", over)
	for _, panel := range board.Panels {
		x, y := gap+panel.GridPos.X*column, head+panel.GridPos.Y*unit
		w, h := panel.GridPos.W*column-gap, panel.GridPos.H*unit-gap
		if panel.Type == "row" {
			text(&svg, x+4, y+h-6, "14", "start", "#ccccdc", panel.Title)
			continue
		}
		fmt.Fprintf(&svg, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" fill="#181b1f" stroke="#2c3235"/>`+"\n", x, y, w, h)
		text(&svg, x+10, y+20, "13", "start", "#ccccdc", panel.Title)
		if panel.Type == "stat" {
			stat(&svg, panel, x+w/2, y+h-24)
		} else {
			graph(&svg, panel, x, y, w, h, from, to)
		}
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

func text(svg *strings.Builder, x, y float64, size, anchor, colour, what string) {
	fmt.Fprintf(svg, `<text x="%.1f" y="%.1f" font-size="%s" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, size, anchor, colour, html.EscapeString(what))
}

// Draws the last value, in the colour of its threshold.
func stat(svg *strings.Builder, panel panel, x, y float64) {
	shown, colour := "–", "#8e8e9a"
	if len(panel.shown) > 0 {
		value := panel.shown[0].points[len(panel.shown[0].points)-1].F
		shown = format(panel.Field.Defaults.Unit, value)
		for _, step := range panel.Field.Defaults.Thresholds.Steps {
			if step.Value == nil || value >= *step.Value {
				colour = named[step.Color]
			}
		}
	}
	text(svg, x, y, "38", "middle", colour, shown)
}

// Draws lines over time or stacked areas, with a scale and a legend.
func graph(svg *strings.Builder, panel panel, x, y, w, h float64, from, to time.Time) {
	stacked := panel.Field.Defaults.Custom.Stacking.Mode == "normal"
	lines := slices.Clone(panel.shown)
	floor := map[int64]float64{}
	floors := make([]map[int64]float64, len(lines))
	top := 0.0
	for i := range lines {
		floors[i] = map[int64]float64{}
		points := slices.DeleteFunc(slices.Clone(lines[i].points), func(point promql.FPoint) bool { return math.IsNaN(point.F) || math.IsInf(point.F, 0) })
		for j := range points {
			if stacked {
				floors[i][points[j].T] = floor[points[j].T]
				points[j].F += floor[points[j].T]
				floor[points[j].T] = points[j].F
			}
			top = max(top, points[j].F)
		}
		lines[i].points = points
	}
	ticks, top := scale(top)
	x0, x1, y0, y1 := x+left, x+w-right, y+above, y+h-below
	across := func(millis int64) float64 {
		return x0 + (x1-x0)*float64(millis-from.UnixMilli())/float64(to.UnixMilli()-from.UnixMilli())
	}
	up := func(value float64) float64 { return y1 - (y1-y0)*value/top }
	for _, tick := range ticks {
		fmt.Fprintf(svg, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#2c3235"/>`+"\n", x0, x1, up(tick), up(tick))
		text(svg, x0-6, up(tick)+4, "11", "end", "#8e8e9a", format(panel.Field.Defaults.Unit, tick))
	}
	for part := range 5 {
		at := from.Add(to.Sub(from) * time.Duration(part) / 4)
		anchor := []string{"start", "middle", "middle", "middle", "end"}[part]
		text(svg, across(at.UnixMilli()), y1+15, "11", anchor, "#8e8e9a", at.UTC().Format("15:04:05"))
	}
	for i := len(lines) - 1; i >= 0; i-- {
		var path, back strings.Builder
		points := lines[i].points
		for j, point := range points {
			fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[j == 0], across(point.T), up(point.F))
			reversed := points[len(points)-1-j]
			fmt.Fprintf(&back, "L%.1f %.1f", across(reversed.T), up(floors[i][reversed.T]))
		}
		if stacked && len(points) > 0 {
			fmt.Fprintf(svg, `<path d="%s%sZ" fill="%s" fill-opacity="0.55"/>`+"\n", path.String(), back.String(), colours[i%len(colours)])
		}
		fmt.Fprintf(svg, `<path d="%s" fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round"/>`+"\n", path.String(), colours[i%len(colours)])
	}
	legendAt := x + 12
	for i, one := range lines {
		rest := fmt.Sprintf("+ %d", len(lines)-i)
		length := 22 + letter*float64(len([]rune(one.name)))
		if legendAt+length > x+w-letter*float64(len(rest))-12 {
			text(svg, legendAt, y+h-10, "11", "start", "#8e8e9a", rest)
			break
		}
		fmt.Fprintf(svg, `<rect x="%.1f" y="%.1f" width="12" height="3" fill="%s"/>`+"\n", legendAt, y+h-15, colours[i%len(colours)])
		text(svg, legendAt+16, y+h-10, "11", "start", "#ccccdc", one.name)
		legendAt += length + 6
	}
}

// Returns some round values from 0 to at least top, and the last of them.
func scale(top float64) ([]float64, float64) {
	if top <= 0 {
		top = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(top/4)))
	for _, factor := range []float64{1, 2, 2.5, 5, 10} {
		if factor*step*4 >= top {
			step *= factor
			break
		}
	}
	var ticks []float64
	for value := 0.0; value < top+step; value += step {
		ticks = append(ticks, value)
	}
	return ticks, ticks[len(ticks)-1]
}

func format(unit string, value float64) string {
	short := func(value float64) string {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", value), "0"), ".")
	}
	round := func(value float64) string { return short(math.Round(value*100) / 100) }
	switch {
	case unit == "s" && value > 0 && value < 1:
		return short(math.Round(value*1e4)/10) + " ms"
	case unit == "s" && value >= 300:
		return round(value/60) + " min"
	case unit == "s":
		return round(value) + " s"
	case unit == "bytes":
		return round(value/1e6) + " MB"
	case unit == "cpm":
		return round(value) + "/min"
	default:
		return short(value)
	}
}
