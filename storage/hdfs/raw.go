package hdfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"unsafe"

	"github.com/colinmarc/hdfs/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The client library wraps a part of what a namenode can do, and some of that lossily: Client.Rename always overwrites,
// messages of errors are dropped, and a file is opened by a name that may change its meaning until the first
// read. This file reaches what is below by the names of unexported fields. The library's version is pinned;
// TestRaw fails where a field is gone or another.

// executor calls a method of the namenode.
type executor interface {
	Execute(method string, req, resp proto.Message) error
}

// field is an unexported field of a struct that x points to.
func field(x any, name string) (reflect.Value, error) {
	v := reflect.ValueOf(x).Elem()
	f := v.FieldByName(name)
	if !f.IsValid() {
		return f, fmt.Errorf("%s has no field %s: this is not the client library that hupsert was built for", v.Type(), name)
	}
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), nil
}

// setFields sets unexported fields of a struct that x points to; names and values in turn.
func setFields(x any, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		f, err := field(x, pairs[i].(string))
		if err != nil {
			return err
		}
		v := reflect.ValueOf(pairs[i+1])
		if !v.Type().AssignableTo(f.Type()) {
			return fmt.Errorf("%T.%s is a %s, not a %s", x, pairs[i], f.Type(), v.Type())
		}
		f.Set(v)
	}
	return nil
}

// namenodeOf is the connection of a client.
func namenodeOf(c *hdfs.Client) (executor, error) {
	f, err := field(c, "namenode")
	if err != nil {
		return nil, err
	}
	e, ok := f.Interface().(executor)
	if !ok {
		return nil, fmt.Errorf("%s has no Execute", f.Type())
	}
	return e, nil
}

// message makes an empty message of the namenode's protocol.
func message(name string) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("hadoop.hdfs." + name))
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

// request is the fields of a request by the names they have in JSON.
type request map[string]any

// callRaw calls a method of the namenode by its name.
func callRaw(e executor, method string, fields request) (reply, error) {
	name := string(method[0]-'a'+'A') + method[1:]
	req, err := message(name + "RequestProto")
	if err != nil {
		return reply{}, err
	}
	resp, err := message(name + "ResponseProto")
	if err != nil {
		return reply{}, err
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return reply{}, err
	}
	if err := protojson.Unmarshal(text, req); err != nil {
		return reply{}, fmt.Errorf("%s: %w", method, err)
	}
	if err := e.Execute(method, req, resp); err != nil {
		return reply{}, err
	}
	return reply{resp.ProtoReflect()}, nil
}

// reply is a message that a namenode sent.
type reply struct{ m protoreflect.Message }

// errProtocol: a reply is not as the protocol has it.
var errProtocol = errors.New("unexpected reply of the namenode")

// get is a field by its name in the protocol; invalid where there is none.
func (r reply) get(name protoreflect.Name) protoreflect.Value {
	d := r.m.Descriptor().Fields().ByName(name)
	if d == nil {
		return protoreflect.Value{}
	}
	return r.m.Get(d)
}

// at is a message in a field, and whether it is set.
func (r reply) at(name protoreflect.Name) (reply, bool) {
	d := r.m.Descriptor().Fields().ByName(name)
	if d == nil || !r.m.Has(d) {
		return reply{}, false
	}
	return reply{r.m.Get(d).Message()}, true
}

// list is a repeated field.
func (r reply) list(name protoreflect.Name) protoreflect.List { return r.get(name).List() }

// yes reports whether a reply's result is true.
func (r reply) yes() bool { return r.get("result").Bool() }

// status is a description of a name in a field, nil where it is not set.
func (r reply) status(name protoreflect.Name) (*hdfs.FileStatus, error) {
	at, ok := r.at(name)
	if !ok {
		return nil, nil
	}
	s, ok := at.m.Interface().(*hdfs.FileStatus)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errProtocol, at.m.Interface())
	}
	return s, nil
}

// rawBlocks are the blocks of a file, each with where it lies: a slice of messages whose type is the library's own.
type rawBlocks struct {
	list reflect.Value
}

// block is one of them.
type block struct{ start, end int64 }

// blocksOf takes the blocks out of a reply to getBlockLocations.
func blocksOf(r reply) (rawBlocks, []block, error) {
	located, ok := r.at("locations")
	if !ok {
		return rawBlocks{}, nil, nil // the caller knows that there is no file
	}
	get := reflect.ValueOf(located.m.Interface()).MethodByName("GetBlocks")
	if !get.IsValid() {
		return rawBlocks{}, nil, fmt.Errorf("%w: %T", errProtocol, located.m.Interface())
	}
	out := rawBlocks{list: get.Call(nil)[0]}
	var blocks []block
	for i := range out.list.Len() {
		b := reply{out.list.Index(i).Interface().(proto.Message).ProtoReflect()}
		start := int64(b.get("offset").Uint())
		id, _ := b.at("b")
		blocks = append(blocks, block{start, start + int64(id.get("numBytes").Uint())})
	}
	return out, blocks, nil
}

// upTo is the blocks that hold the bytes from start to end, the last one cut there: a reader of them asks its datanode for
// no byte beyond.
func (b rawBlocks) upTo(blocks []block, start, end int64) rawBlocks {
	out := reflect.MakeSlice(b.list.Type(), 0, 1)
	for i, at := range blocks {
		if at.end <= start || at.start >= end {
			continue
		}
		one := b.list.Index(i)
		if at.end > end {
			clone := proto.Clone(one.Interface().(proto.Message))
			id := clone.ProtoReflect().Mutable(clone.ProtoReflect().Descriptor().Fields().ByName("b")).Message()
			id.Set(id.Descriptor().Fields().ByName("numBytes"), protoreflect.ValueOfUint64(uint64(end-at.start)))
			one = reflect.ValueOf(clone)
		}
		out = reflect.Append(out, one)
	}
	return rawBlocks{out}
}

// newReader makes a reader of a file that is described already, without asking the namenode.
func newReader(c *hdfs.Client, name string, info *hdfs.FileInfo, blocks rawBlocks) (*hdfs.FileReader, error) {
	r := &hdfs.FileReader{}
	if err := setFields(r, "client", c, "name", name, "info", info); err != nil {
		return nil, err
	}
	f, err := field(r, "blocks")
	if err != nil {
		return nil, err
	}
	f.Set(blocks.list)
	return r, nil
}

// newInfo makes a description as the library has it.
func newInfo(name string, s *hdfs.FileStatus) (*hdfs.FileInfo, error) {
	i := &hdfs.FileInfo{}
	return i, setFields(i, "name", name, "status", s)
}

// broke reports whether the read that a reader just returned from ended in an error that it swallowed: the library
// gives the bytes of a read whose checksum is wrong, or whose connection broke, as if they were good, and fails
// with the next one.
func broke(r *hdfs.FileReader) bool {
	b := reflect.ValueOf(r).Elem().FieldByName("blockReader")
	return !b.IsNil() && b.Elem().FieldByName("stream").IsNil()
}

// newWriter makes a writer of a file that was created already.
func newWriter(c *hdfs.Client, name string, replication int, blockSize int64, id uint64) (*hdfs.FileWriter, error) {
	w := &hdfs.FileWriter{}
	return w, setFields(w, "client", c, "name", name, "replication", replication, "blockSize", blockSize, "fileId", &id)
}

// fillKey sets the key that datanodes are spoken to with: the library would ask for it anew for each block where
// there is none, from many goroutines without a lock.
func fillKey(c *hdfs.Client, e executor) error {
	got, err := callRaw(e, "getDataEncryptionKey", request{})
	if err != nil {
		return err
	}
	f, err := field(c, "encryptionKey")
	if err != nil {
		return err
	}
	if key, ok := got.at("dataEncryptionKey"); ok {
		f.Set(reflect.ValueOf(key.m.Interface()))
	} else {
		f.Set(reflect.New(f.Type().Elem()))
	}
	return nil
}

// blockWriter is the block that a writer of the library is at; it may be none.
type blockWriter struct{ v reflect.Value }

// blockOf gives a writer's block. Who sets the field that it comes from changes where the writer is.
func blockOf(w *hdfs.FileWriter) (blockWriter, error) {
	f, err := field(w, "blockWriter")
	return blockWriter{f}, err
}

func (b blockWriter) none() bool { return b.v.IsNil() }

// remember gives a copy that does not change when the writer goes on.
func (b blockWriter) remember() blockWriter {
	return blockWriter{reflect.ValueOf(b.v.Interface())}
}

// is reports whether a writer is at the block still.
func (b blockWriter) is(of blockWriter) bool { return b.v.Pointer() == of.v.Pointer() }

// back puts a writer at a block it was at before.
func (b blockWriter) back(to blockWriter) { b.v.Set(to.v) }

// finish sends what is left of a block and waits until the datanodes have acknowledged it. It is to be called once: the
// library says that the second time went well, whatever the first one met.
func (b blockWriter) finish() error {
	if b.none() {
		return nil
	}
	closer, ok := b.v.Interface().(io.Closer)
	if !ok {
		return fmt.Errorf("%T has no Close", b.v.Interface())
	}
	if err := closer.Close(); err != nil {
		return errors.Join(err, b.hush())
	}
	return nil
}

// hush ends the goroutine that takes the acknowledgements of a block whose last bytes could not be sent: the library leaves
// it waiting for more of them for ever. It is done when all were sent.
func (b blockWriter) hush() error {
	at, err := field(b.v.Interface(), "stream")
	if err != nil || at.IsNil() {
		return err
	}
	stream := at.Interface()
	done, err := field(stream, "acksDone")
	if err != nil {
		return err
	}
	packets, err := field(stream, "packets")
	if err != nil {
		return err
	}
	select {
	case <-done.Interface().(chan struct{}):
	default:
		packets.Close()
	}
	return nil
}

// located is the block as the namenode gave it.
func (b blockWriter) located() (reply, error) {
	m, ok := b.v.Elem().FieldByName("Block").Interface().(proto.Message)
	if !ok {
		return reply{}, fmt.Errorf("%T has no Block", b.v.Interface())
	}
	return reply{m.ProtoReflect()}, nil
}

// written is the block with its length, as a field of a request; nil where there is none.
func (b blockWriter) written() (any, error) {
	if b.none() {
		return nil, nil
	}
	located, err := b.located()
	if err != nil {
		return nil, err
	}
	at, _ := located.at("b")
	out, err := at.asRequest()
	if err == nil {
		out["numBytes"] = b.v.Elem().FieldByName("Offset").Int()
	}
	return out, err
}

// asRequest makes a message of a reply a part of a request.
func (r reply) asRequest() (request, error) {
	text, err := protojson.Marshal(r.m.Interface())
	if err != nil {
		return nil, err
	}
	out := request{}
	return out, json.Unmarshal(text, &out)
}
