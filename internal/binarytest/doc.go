// Package binarytest holds tests of the built command as a machine treats it: system calls that fail or
// never return, processes that are killed under readers, many processes at once. It exports nothing.
//
// HUPSERT_BINARY names the command; without it the tests build one. HUPSERT_SEED repeats a run whose seed
// was printed; HUPSERT_CASES makes the runs as long as a marathon. strace is needed for one of them, which is
// skipped without it; for root, who can install it, that is an error where HUPSERT_REQUIRE is "all".
package binarytest
