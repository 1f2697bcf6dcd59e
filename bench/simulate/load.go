package simulate

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Load is a rate of requests that changes with time.
type Load struct {
	Name string
	// Rates are requests per second, a value a second.
	Rates []float64
}

// peak is the rate that 1,000 instances of one request at a time are wanted
// for, each being used to 70 %.
const peak = 1000 * 0.7 / 0.5

// loads are the synthetic ones.
var loads = []Load{
	{"constant", shape(300, func(int) float64 { return 20 })},
	{"step to 1,000", shape(120, func(int) float64 { return peak })},
	{"ramp to 1,000", shape(300, func(s int) float64 { return peak * float64(s) / 300 })},
	{"burst", shape(300, func(s int) float64 { return when(s >= 120 && s < 130, 200, 20) })},
	{"sine", shape(600, func(s int) float64 { return 20 - 20*math.Cos(2*math.Pi*float64(s)/120) })},
	{"on-off 10 s in 90", shape(900, func(s int) float64 { return when(s%90 < 10, 20, 0) })},
	{"one a minute", shape(900, func(s int) float64 { return when(s%60 == 0, 1, 0) })},
}

func shape(seconds int, rate func(second int) float64) []float64 {
	rates := make([]float64, seconds)
	for s := range rates {
		rates[s] = rate(s)
	}
	return rates
}

func when(is bool, then, otherwise float64) float64 {
	if is {
		return then
	}
	return otherwise
}

// arrivals are the times of the single requests: random as those of people
// who do not know of each other, and the same in every run.
func arrivals(rates []float64) []time.Duration {
	random := rand.New(rand.NewPCG(1, 1))
	var all []time.Duration
	for second, rate := range rates {
		if rate == 0 {
			continue
		}
		for at := random.ExpFloat64() / rate; at < 1; at += random.ExpFloat64() / rate {
			all = append(all, time.Duration((float64(second)+at)*float64(time.Second)))
		}
	}
	return all
}

// Bounds of a recorded load.
const (
	maxTrace    = 4 << 20 // bytes
	maxSeconds  = 24 * 60 * 60
	maxRequests = 5_000_000
)

// ReadTrace reads a recorded load: a CSV file without a heading, of a second
// from 0 and the requests per second from then on, at most a day. Lines that
// begin with # are comments. Errors name the line.
func ReadTrace(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read load: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTrace+1))
	if err == nil && len(data) > maxTrace {
		err = fmt.Errorf("it has more than %d bytes; give it fewer rows", maxTrace)
	}
	if err != nil {
		return nil, fmt.Errorf("read load %s: %w", path, err)
	}
	rates, err := parseTrace(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read load %s: %w", path, err)
	}
	return rates, nil
}

func parseTrace(from io.Reader) ([]float64, error) {
	rows := csv.NewReader(from)
	rows.FieldsPerRecord, rows.ReuseRecord, rows.TrimLeadingSpace, rows.Comment = 2, true, true, '#'
	var rates []float64
	var before, total float64
	for {
		row, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF) && len(rates) == 0:
			return nil, errors.New("it has no rows; write one a second: second,requests per second")
		case errors.Is(err, io.EOF):
			return rates, nil
		case err != nil:
			return nil, err
		}
		line, _ := rows.FieldPos(0)
		second, err := strconv.Atoi(row[0])
		if err != nil || second < len(rates) || second >= maxSeconds {
			return nil, fmt.Errorf("line %d: second %q must be a whole number, later than the row before and below %d", line, row[0], maxSeconds)
		}
		rate, err := strconv.ParseFloat(row[1], 64)
		if err != nil || !(rate >= 0 && rate <= maxRequests) {
			return nil, fmt.Errorf("line %d: rate %q must be a number of requests per second from 0 to %d", line, row[1], maxRequests)
		}
		for len(rates) < second { // the rate before holds until this row
			rates = append(rates, before)
			total += before
		}
		rates, before = append(rates, rate), rate
		if total += rate; total > maxRequests {
			return nil, fmt.Errorf("line %d: more than %d requests so far; simulate a part of the load", line, maxRequests)
		}
	}
}
