package hdfs

// Scopes and kinds of the entries of an access control list, as the namenode numbers them.
const (
	aclAccess = 0
	aclUser   = 0
	aclGroup  = 1
	aclMask   = 2
	aclOther  = 3
)

// copyACL gives a name the access control list of another one, with what a folder hands down.
func (c *client) copyACL(from, to string) error {
	r, err := c.call("getAclStatus", request{"src": from})
	if err != nil {
		return err
	}
	result, ok := r.at("result")
	if !ok {
		return errProtocol
	}
	at, ok := result.at("permission")
	perm := uint32(0)
	if ok {
		perm = uint32(at.get("perm").Uint())
	} else if s, err := c.status(from); err != nil { // of old namenodes
		return err
	} else {
		perm = s.GetPermission().GetPerm()
	}
	_, err = c.call("setAcl", request{"src": to, "aclSpec": aclSpec(result, perm)})
	return err
}

// aclSpec is a whole list: the namenode gives the entries beyond the mode, and takes them with those in the mode. Where
// there are entries of access beyond the mode, the mode's group bits are the mask.
func aclSpec(r reply, perm uint32) []request {
	entry := func(kind int, bits uint32) request {
		return request{"type": kind, "scope": aclAccess, "permissions": bits & 7}
	}
	spec := []request{entry(aclUser, perm>>6), entry(aclOther, perm)}
	extended := false
	list := r.list("entries")
	for i := range list.Len() {
		e := reply{list.Get(i).Message()}
		one := request{"type": e.get("type").Enum(), "scope": e.get("scope").Enum(), "permissions": e.get("permissions").Enum()}
		if name := e.get("name").String(); name != "" {
			one["name"] = name
		}
		spec = append(spec, one)
		extended = extended || e.get("scope").Enum() == aclAccess
	}
	if extended {
		return append(spec, entry(aclMask, perm>>3))
	}
	return append(spec, entry(aclGroup, perm>>3))
}
