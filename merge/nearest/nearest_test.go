package nearest

import "testing"

func TestMeant(t *testing.T) {
	columns := []string{"id", "name", "deleted", "v", "Line_No"}
	for name, want := range map[string]string{"idd": "did you mean id? ", "deletd": "did you mean deleted? ", "line-no": "did you mean Line_No? ",
		"ix": "did you mean id? ", "x": "", "xy": "", "ID": "", "nothing_like_it": "", "": ""} {
		if got := Meant(name, columns); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
