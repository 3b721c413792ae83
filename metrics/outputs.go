package metrics

// maxOutputs bounds the kinds of outputs; there are four.
const maxOutputs = 16

// outputs are totals by kind: an output that is configured anew counts from 0 again.
type outputs map[string]*outputTotals

type outputTotals struct{ sent, noRoom, refused, failed total }

// countedOutput is what a scrape is told of an output.
type countedOutput struct {
	Output
	sent, noRoom, refused, failed uint64
}

func (o *outputs) take(now []Output) (all []countedOutput) {
	if *o == nil {
		*o = make(outputs)
	}
	for _, output := range now {
		output.Kind = label(output.Kind)
		t := (*o)[output.Kind]
		if t == nil {
			if len(*o) >= maxOutputs {
				continue
			}
			t = new(outputTotals)
			(*o)[output.Kind] = t
		}
		t.sent.take(output.Sent)
		t.noRoom.take(output.Lost - min(output.Refused, output.Lost))
		t.refused.take(output.Refused)
		t.failed.take(output.Failed)
		all = append(all, countedOutput{output, t.sent.sum, t.noRoom.sum, t.refused.sum, t.failed.sum})
	}
	return all
}
