// Package schedulertest holds tests of what runs hupsert day by day: the DAGs of examples/airflow in a real Airflow, the Dockerfile's
// build, the manifests of examples/kubernetes and the units of examples/systemd. It exports nothing.
//
// Airflow, with the types that Kubernetes' own client has of manifests, is in the Python that HUPSERT_AIRFLOW names;
// `make test` installs it and sets this. Where it is missing these tests are skipped, unless HUPSERT_REQUIRE is "all".
// testdata/airflow has the scripts. There is no cluster: cluster.py runs what a pod would.
package schedulertest
