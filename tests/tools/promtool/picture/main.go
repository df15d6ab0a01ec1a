// Draws a dashboard from series that were recorded: Prometheus' own engine answers the dashboard's queries, and the drawing is ours.
//
//	go run ./picture DASHBOARD FOLDER >PICTURE
//
// FOLDER is what `promtool tsdb create-blocks-from openmetrics` made. Its series "mark" say what happened when.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log"
	"math"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/promslog"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	// Of the picture, in time.
	steps = 110
	// Of the dashboard's grid, in pixels.
	column, row = 40.0, 17.0
	head        = 58.0
	style       = `text{font:11px system-ui,sans-serif;fill:#1f2328}.b{font-weight:600}.d{fill:#59636e}.e{text-anchor:end}.v{font-size:20px;text-anchor:middle}
.p{fill:#f6f8fa;stroke:#d1d9e0}.m{stroke:#818b98;stroke-dasharray:2 3}.l{fill:none;stroke-width:1.3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}.p{fill:#151b23;stroke:#3d444d}}`
)

// In tones that are seen on white and on black.
var palette = []string{"#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#ec4899", "#84cc16"}
var named = map[string]string{"red": "#ef4444", "orange": "#f59e0b", "yellow": "#facc15", "green": "#10b981"}
var placeholder = regexp.MustCompile(`{{(\w+)}}`)

type panel struct {
	Title, Type string
	GridPos     struct{ X, Y, W, H float64 }
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
			Custom struct{ Stacking struct{ Mode string } }
		}
	}
}

// What was recorded.
type recording struct {
	db         *tsdb.DBReadOnly
	engine     *promql.Engine
	start, end time.Time
	marks      promql.Matrix
}

// A panel, and the place for what it shows.
type box struct {
	panel
	r          *recording
	x, y, w, h float64
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal("picture: ", err)
	}
	return value
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: picture DASHBOARD FOLDER")
	}
	var board struct{ Panels []panel }
	must(0, json.Unmarshal(must(os.ReadFile(os.Args[1])), &board))
	r := &recording{db: must(tsdb.OpenDBReadOnly(os.Args[2], "", promslog.NewNopLogger())), engine: promql.NewEngine(promql.EngineOpts{
		// A scrape that fails leaves no mark here, as it does in Prometheus: what is older than two of them is gone.
		LookbackDelta: 31 * time.Second,
		Logger:        promslog.NewNopLogger(), MaxSamples: 50e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}),
	})}
	blocks := must(r.db.Blocks())
	r.start, r.end = time.UnixMilli(blocks[0].Meta().MinTime), time.UnixMilli(blocks[len(blocks)-1].Meta().MaxTime-1)
	r.marks = r.ask("mark", steps)
	sort.Slice(r.marks, func(a, b int) bool { return r.marks[a].Metric.Get("number") < r.marks[b].Metric.Get("number") })
	r.draw(board.Panels)
}

// What the dashboard's query finds at each step from start to end.
func (r *recording) ask(expr string, steps int) promql.Matrix {
	// As Grafana has it, the rate's interval is four times that of the scrapes.
	expr = strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$namespace", ".*").Replace(expr)
	step := r.end.Sub(r.start) / time.Duration(steps)
	found := must(must(r.engine.NewRangeQuery(context.Background(), r.db, nil, expr, r.start, r.end, step)).Exec(context.Background()).Matrix())
	sort.Slice(found, func(a, b int) bool { return labels.Compare(found[a].Metric, found[b].Metric) < 0 })
	return found
}

func (r *recording) draw(panels []panel) {
	rows := 0.0
	for _, p := range panels {
		rows = max(rows, p.GridPos.Y+p.GridPos.H)
	}
	width, height := 24*column, rows*row+head
	fmt.Printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\">\n<style>%s</style>\n", width, height, style)
	label(4, 16, "b", fmt.Sprintf("%.0f minutes, from left to right", r.end.Sub(r.start).Minutes()))
	x, y := 4.0, 34.0
	for number, mark := range r.marks {
		words := letter(number) + ": " + mark.Metric.Get("words")
		if x+wide(words) > width {
			x, y = 4, y+15
		}
		label(x, y, "d", words)
		x += wide(words) + 16
	}
	draws := map[string]func(box){"stat": box.stat, "table": box.table, "state-timeline": box.timeline, "heatmap": box.heatmap, "timeseries": box.lines}
	for _, p := range panels {
		x, y, w, h := p.GridPos.X*column, p.GridPos.Y*row+head, p.GridPos.W*column, p.GridPos.H*row
		if p.Type == "row" {
			label(x+4, y+13, "b", p.Title)
			continue
		}
		fmt.Printf(`<rect class="p" x="%g" y="%g" width="%g" height="%g" rx="3"/>`, x+2, y+2, w-4, h-4)
		label(x+8, y+15, "", p.Title)
		draws[p.Type](box{p, r, x + 8, y + 20, w - 16, h - 28})
	}
	fmt.Println("</svg>")
}

func (b box) stat() {
	text, colour := "–", ""
	if found := b.last(0); len(found) > 0 {
		text = b.format(found[0].Floats[0].F)
		if found := b.threshold(found[0].Floats[0].F); found != "" {
			colour = ` style="fill:` + found + `"`
		}
	}
	fmt.Printf("<text class=\"v\" x=\"%g\" y=\"%g\"%s>%s</text>\n", b.x+b.w/2, b.y+b.h/2+8, colour, text)
}

func (b box) table() {
	expiries, refreshes := b.last(0), map[string]float64{}
	for _, line := range b.last(1) {
		refreshes[line.Metric.String()] = line.Floats[0].F
	}
	sort.SliceStable(expiries, func(a, c int) bool { return expiries[a].Floats[0].F < expiries[c].Floats[0].F })
	line := func(number int, class, name, expires, refresh string) {
		y := b.y + 9 + 12*float64(number)
		label(b.x, y, class, name)
		label(b.x+b.w*0.7, y, class+" e", expires)
		label(b.x+b.w, y, class+" e", refresh)
	}
	line(0, "d", "resource", "expires", "refresh")
	for number, found := range expiries[:min(len(expiries), int(b.h/12)-1)] {
		line(number+1, "", legend("{{namespace}}/{{name}}", found), b.format(found.Floats[0].F), b.format(refreshes[found.Metric.String()]))
	}
}

func (b box) timeline() {
	found := b.r.ask(b.Targets[0].Expr, steps)
	b = b.narrower(110, 0)
	height := b.h / float64(len(found))
	for number, line := range found {
		y := b.y + float64(number)*height
		label(b.x-110, y+height*0.75, "", legend(b.Targets[0].LegendFormat, line))
		for at := 0; at < len(line.Floats); {
			from, colour := at, b.threshold(line.Floats[at].F)
			for at < len(line.Floats) && b.threshold(line.Floats[at].F) == colour {
				at++
			}
			x := b.at(line.Floats[from].T)
			fmt.Printf(`<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="%s" fill-opacity=".8"/>`, x, y+1, min(b.at(line.Floats[at-1].T)+b.w/steps, b.x+b.w)-x, height-2, colour)
		}
	}
}

func (b box) heatmap() {
	const cells = steps / 2
	found := b.r.ask(b.Targets[0].Expr, cells)
	bound := func(line promql.Series) float64 { return must(strconv.ParseFloat(line.Metric.Get("le"), 64)) }
	sort.Slice(found, func(a, c int) bool { return bound(found[a]) < bound(found[c]) })
	b = b.narrower(44, 0)
	height := b.h / float64(len(found))
	below := map[int64]float64{}
	for number, line := range found {
		y := b.y + b.h - float64(number+1)*height
		if number%3 == 1 {
			label(b.x-4, y+4, "d e", duration(bound(line)))
		}
		for _, point := range line.Floats {
			// Buckets are cumulative.
			if count := point.F - below[point.T]; count > 0.01 {
				fmt.Printf(`<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" fill="#10b981" fill-opacity="%.1f"/>`, b.at(point.T), y, b.w/cells, height, min(1, 0.2+count/4))
			}
			below[point.T] = point.F
		}
	}
}

// Lines, one on top of the other where the dashboard stacks them.
func (b box) lines() {
	below, most := map[int64]float64{}, 0.0
	var all promql.Matrix
	var legends []string
	for _, target := range b.Targets {
		for _, line := range b.r.ask(target.Expr, steps) {
			words, kept := "", line.Floats[:0]
			for _, point := range line.Floats {
				if math.IsNaN(point.F) {
					continue
				}
				if point.F != 0 {
					words = legend(target.LegendFormat, line)
				}
				if b.FieldConfig.Defaults.Custom.Stacking.Mode == "normal" {
					point.F += below[point.T]
					below[point.T] = point.F
				}
				kept, most = append(kept, point), max(most, point.F)
			}
			// What is zero all the time would only hide what is below it.
			if line.Floats = kept; words != "" {
				all, legends = append(all, line), append(legends, words)
			}
		}
	}
	rows, x := 1.0, 0.0
	for _, words := range legends {
		if x+wide(words) > b.w-44 {
			rows, x = rows+1, 0
		}
		x += wide(words) + 18
	}
	b = b.narrower(44, 4+12*rows)
	label(b.x-4, b.y+9, "d e", b.format(most))
	label(b.x-4, b.y+b.h, "d e", "0")
	y := b.y + b.h + 13
	x = b.x
	for number, line := range all {
		path, previous := "", int64(0)
		for _, point := range line.Floats {
			verb := "L"
			if b.at(point.T)-b.at(previous) > 1.5*b.w/steps {
				verb = "M"
			}
			path, previous = path+fmt.Sprintf("%s%.0f %.0f", verb, b.at(point.T), b.y+b.h*(1-point.F/max(most, 1e-9))), point.T
		}
		colour := palette[number%len(palette)]
		fmt.Printf(`<path class="l" stroke="%s" d="%s"/>`, colour, path)
		if x+wide(legends[number]) > b.x+b.w {
			x, y = b.x, y+12
		}
		fmt.Printf(`<path d="M%.0f %.0fh8" stroke="%s" stroke-width="3"/>`, x, y-3, colour)
		label(x+11, y, "d", legends[number])
		x += wide(legends[number]) + 18
	}
}

// Room at the left and below, and marks where something happened.
func (b box) narrower(left, below float64) box {
	b.x, b.w, b.h = b.x+left, b.w-left, b.h-below
	for number, mark := range b.r.marks {
		fmt.Printf(`<path class="m" d="M%.0f %.0fv%.0f"/>`, b.at(mark.Floats[0].T), b.y, b.h)
		label(b.at(mark.Floats[0].T)+2, b.y+9, "d", letter(number))
	}
	return b
}

func (b box) at(millis int64) float64 {
	return b.x + b.w*float64(millis-b.r.start.UnixMilli())/float64(b.r.end.Sub(b.r.start).Milliseconds())
}

// What one of the queries finds in the end.
func (b box) last(target int) promql.Matrix {
	var found promql.Matrix
	for _, line := range b.r.ask(b.Targets[target].Expr, 1) {
		if last := len(line.Floats) - 1; line.Floats[last].T > b.r.start.UnixMilli() {
			line.Floats = line.Floats[last:]
			found = append(found, line)
		}
	}
	return found
}

func (b box) threshold(value float64) (colour string) {
	for _, step := range b.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || value >= *step.Value {
			colour = named[step.Color]
		}
	}
	return colour
}

func (b box) format(value float64) string {
	switch b.FieldConfig.Defaults.Unit {
	case "s":
		return duration(value)
	case "percentunit":
		return fmt.Sprintf("%.1f %%", 100*value)
	case "bytes":
		return fmt.Sprintf("%.0f MiB", value/(1<<20))
	case "reqps", "ops":
		return fmt.Sprintf("%.2f/s", value)
	case "dateTimeAsIso":
		return time.UnixMilli(int64(value)).UTC().Format(time.TimeOnly)
	}
	return strconv.FormatFloat(math.Round(value*10)/10, 'f', -1, 64)
}

func duration(seconds float64) string {
	switch {
	case math.Abs(seconds) < 1:
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.0f min", seconds/60)
}

func legend(format string, line promql.Series) string {
	return placeholder.ReplaceAllStringFunc(format, func(found string) string { return line.Metric.Get(strings.Trim(found, "{}")) })
}

// About so wide is a text.
func wide(text string) float64 { return 5.8 * float64(len(text)) }

func letter(number int) string { return string(rune('a' + number)) }

func label(x, y float64, class, text string) {
	fmt.Printf("<text x=\"%.0f\" y=\"%.0f\" class=\"%s\">%s</text>\n", x, y, class, html.EscapeString(text))
}
