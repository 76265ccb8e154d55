package hdfs

import "github.com/jcmturner/gokrb5/v8/keytab"

// keytabWith changes the keys of a keytab.
func keytabWith(name string, change func(key []byte)) ([]byte, error) {
	keys, err := keytab.Load(name)
	if err != nil {
		return nil, err
	}
	for i := range keys.Entries {
		change(keys.Entries[i].Key.KeyValue)
	}
	return keys.Marshal()
}
