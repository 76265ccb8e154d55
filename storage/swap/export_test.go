package swap

import "encoding/json"

// SealRecord makes the checksum of a record right; what is no record stays as it is.
func SealRecord(data []byte) []byte {
	var rec record
	if json.Unmarshal(data, &rec) != nil {
		return data
	}
	rec.Sum = rec.sum()
	sealed, err := json.Marshal(rec)
	if err != nil {
		return data
	}
	return sealed
}
