package openlineage

import (
	"path"
	"strings"

	"github.com/hupsert/hupsert/partition"
)

// named is the dataset that a path or URL means. One that can't be told has the URL as its name.
func named(url string) dataset {
	at, err := partition.Locate(url)
	if err != nil {
		return dataset{Namespace: service, Name: url}
	}
	return dataset{Namespace: at.Store, Name: at.Name}
}

// inputs are the datasets of the sources: each file or folder that is named, and of a glob or template the folder that it begins
// with. Standard input is none.
func (r *Run) inputs() []dataset {
	out := []dataset{}
	seen := map[[2]string]bool{}
	for _, from := range r.about.From {
		if from == "-" {
			continue
		}
		d := named(fixed(from))
		if id := [2]string{d.Namespace, d.Name}; !seen[id] {
			seen[id] = true
			out = append(out, d)
		}
	}
	return out
}

// fixed is the part of a glob or template before what stands for something else.
func fixed(from string) string {
	at := strings.IndexAny(from, "*?[{")
	if at < 0 {
		return from
	}
	switch dir := from[:strings.LastIndexByte(from[:at], '/')+1]; dir {
	case "":
		return "."
	case "/":
		return dir
	default:
		return strings.TrimSuffix(dir, "/")
	}
}

// output is the table.
func (r *Run) output() dataset { return named(r.about.Table) }

// oldRows is the table as an input: its partitions whose rows were merged with the source's.
func (r *Run) oldRows(report *partition.Report) []dataset {
	d := r.output()
	var old, bytes, files int64
	var list []partition.PartitionReport
	for _, p := range report.Partitions {
		if p.Rows.Old == 0 || !p.Status.Counts() {
			continue
		}
		list = append(list, p)
		old, bytes, files = old+p.Rows.Old, bytes+p.Bytes.Read, files+int64(p.Files.Before)
	}
	if len(list) == 0 {
		return nil
	}
	d.InputFacets = facets{"inputStatistics": statistics("1-0-0", "InputStatisticsInputDatasetFacet", old, bytes, files)}
	d.Facets = describe(report, false)
	if of := subset(list); of != nil {
		d.InputFacets["subset"] = facet{schema: facetBase + "1-0-0/BaseSubsetDatasetFacet.json#/$defs/InputSubsetInputDatasetFacet",
			fields: map[string]any{"inputCondition": of}}
	}
	return []dataset{d}
}

// addStatistics says how much was read from the sources and written into the table.
func (r *Run) addStatistics(report *partition.Report) {
	if l := report.Lineage; l != nil {
		r.addSourceStatistics(l)
	}
	var rows, bytes, files int64
	var list []partition.PartitionReport
	for _, p := range report.Partitions {
		if p.Status != partition.Published { // what is only staged is not in the table
			continue
		}
		list = append(list, p)
		rows, files = rows+p.Rows.Out, files+int64(p.Files.After)
		bytes += p.Bytes.Kept + p.Bytes.Copied + p.Bytes.Patched + p.Bytes.Rewritten + p.Bytes.Added
	}
	out := &r.event.Outputs[0]
	out.Facets = describe(report, true)
	out.OutputFacets = facets{"outputStatistics": statistics("1-0-2", "OutputStatisticsOutputDatasetFacet", rows, bytes, files)}
	if of := subset(list); of != nil {
		out.OutputFacets["subset"] = facet{schema: facetBase + "1-0-0/BaseSubsetDatasetFacet.json#/$defs/OutputSubsetOutputDatasetFacet",
			fields: map[string]any{"outputCondition": of}}
	}
}

// addSourceStatistics says of each source which of the files that were read are its own.
func (r *Run) addSourceStatistics(l *partition.Lineage) {
	for i := range r.event.Inputs {
		in := &r.event.Inputs[i]
		var bytes, files int64
		for _, f := range l.Sources {
			at, err := partition.Locate(f.URL)
			if f.URL != "" && err == nil && at.Store == in.Namespace && (at.Name == in.Name || strings.HasPrefix(at.Name, strings.TrimSuffix(in.Name, "/")+"/")) {
				bytes, files = bytes+f.Size, files+1
			}
		}
		if files > 0 && in.InputFacets == nil {
			in.InputFacets = facets{"inputStatistics": standard("1-0-0", "InputStatisticsInputDatasetFacet",
				map[string]any{"size": bytes, "fileCount": files})}
		}
	}
}

func statistics(version, name string, rows, bytes, files int64) facet {
	return standard(version, name, map[string]any{"rowCount": rows, "size": bytes, "fileCount": files})
}

// describe is what is said of the table: its columns, and with links by which path it is known too.
func describe(report *partition.Report, links bool) facets {
	l := report.Lineage
	if l == nil {
		return nil
	}
	f := facets{}
	if len(l.Columns) > 0 {
		fields := make([]map[string]any, len(l.Columns))
		for i, c := range l.Columns {
			fields[i] = map[string]any{"name": c.Name, "type": partition.TypeName(c.Type), "ordinal_position": i + 1}
		}
		f["schema"] = standard("1-2-0", "SchemaDatasetFacet", map[string]any{"fields": fields})
	}
	if at, err := partition.Locate(l.Folder); links && err == nil && strings.HasPrefix(report.Table, "hive://") {
		f["symlinks"] = standard("1-0-1", "SymlinksDatasetFacet", map[string]any{"identifiers": []map[string]any{
			{"namespace": at.Store, "name": at.Name, "type": "LOCATION"}}})
	}
	return f
}

// toldPartitions is how many partitions an event names at most: servers bound the size of events.
const toldPartitions = 1000

// subset is the partitions of the table that a run is about; nil where it has none, or they are too many to be named.
func subset(list []partition.PartitionReport) map[string]any {
	if len(list) == 0 || len(list) > toldPartitions {
		return nil
	}
	var out []map[string]any
	for _, p := range list {
		spec, err := partition.ParsePath(p.Partition)
		if err != nil || len(spec) == 0 {
			return nil
		}
		dimensions := map[string]any{}
		for _, pair := range spec {
			dimensions[pair.Column] = pair.Value
			if pair.Null {
				dimensions[pair.Column] = nil
			}
		}
		out = append(out, map[string]any{"identifier": path.Clean(p.Partition), "dimensions": dimensions})
	}
	return map[string]any{"type": "partition", "partitions": out}
}
