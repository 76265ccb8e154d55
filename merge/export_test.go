package merge

// CheckKeysWith is CheckKeys by another hash.
var CheckKeysWith = checkKeys
