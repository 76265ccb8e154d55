package openlineage

import "encoding/json"

// The form of events is that of the OpenLineage specification, object model 2-0-2.
const (
	producer  = "https://github.com/hupsert/hupsert"
	eventURL  = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
	facetBase = "https://openlineage.io/spec/facets/"
	// ownFacet is described by docs/lineage-facet.schema.json.
	ownFacet = "https://raw.githubusercontent.com/hupsert/hupsert/main/docs/lineage-facet.schema.json#/$defs/HupsertRunFacet"
)

// kind is what an event says of a run.
type kind string

const (
	start    kind = "START"
	complete kind = "COMPLETE"
	fail     kind = "FAIL"
	abort    kind = "ABORT"
)

// event is one event of a run.
type event struct {
	EventType kind      `json:"eventType"`
	EventTime string    `json:"eventTime"`
	Run       runOf     `json:"run"`
	Job       jobOf     `json:"job"`
	Inputs    []dataset `json:"inputs"`
	Outputs   []dataset `json:"outputs"`
	Producer  string    `json:"producer"`
	SchemaURL string    `json:"schemaURL"`
}

type runOf struct {
	RunID  string `json:"runId"`
	Facets facets `json:"facets,omitempty"`
}

type jobOf struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Facets    facets `json:"facets,omitempty"`
}

// dataset is an input or an output.
type dataset struct {
	Namespace    string `json:"namespace"`
	Name         string `json:"name"`
	Facets       facets `json:"facets,omitempty"`
	InputFacets  facets `json:"inputFacets,omitempty"`
	OutputFacets facets `json:"outputFacets,omitempty"`
}

// facets are what is said of a run, job or dataset, by name.
type facets map[string]facet

// facet is one of them.
type facet struct {
	schema string // its URL
	fields map[string]any
}

// MarshalJSON implements json.Marshaler.
func (f facet) MarshalJSON() ([]byte, error) {
	all := map[string]any{"_producer": producer, "_schemaURL": f.schema}
	for name, value := range f.fields {
		all[name] = value
	}
	return json.Marshal(all)
}

// standard is a facet of the specification, by its version and name.
func standard(version, name string, fields map[string]any) facet {
	return facet{schema: facetBase + version + "/" + name + ".json#/$defs/" + name, fields: fields}
}

// parent is the run that has started ours, and the one at the beginning of all.
type parent struct {
	namespace, name, run string
	root                 *parent
}

func (p *parent) fields() map[string]any {
	f := map[string]any{"run": map[string]string{"runId": p.run}, "job": map[string]string{"namespace": p.namespace, "name": p.name}}
	if p.root != nil {
		f["root"] = p.root.fields()
	}
	return f
}
