package merge

// runs is a list of source rows, in which rows that follow each other take one entry.
type runs struct {
	list []run
	n    int // rows
}

type run struct{ from, n uint32 }

func (r *runs) add(row uint32) {
	r.n++
	if last := len(r.list) - 1; last >= 0 && r.list[last].from+r.list[last].n == row {
		r.list[last].n++
		return
	}
	r.list = append(r.list, run{row, 1})
}

// take removes the first n rows, or all there are.
func (r *runs) take(n int) runs {
	if n >= r.n {
		all := *r
		*r = runs{}
		return all
	}
	i, left := 0, uint32(n)
	for r.list[i].n <= left {
		left -= r.list[i].n
		i++
	}
	head := runs{list: r.list[:i:i], n: n}
	rest := runs{list: r.list[i:], n: r.n - n}
	if left > 0 {
		cut := r.list[i]
		head.list = append(head.list, run{cut.from, left})
		rest.list = append([]run{{cut.from + left, cut.n - left}}, rest.list[1:]...)
	}
	*r = rest
	return head
}
