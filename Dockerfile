# hupsert in an image: the static binary, certificates and time zones, and nobody's root.
#
#     docker build --build-arg VERSION=$(git describe --tags --always) -t hupsert .
#     docker run --rm -v /warehouse:/warehouse -v /incoming:/incoming:ro hupsert upsert /warehouse/orders --from /incoming/day.parquet
#
# With a shell, for looking around:
#
#     docker build --build-arg BASE=gcr.io/distroless/static-debian12:debug-nonroot -t hupsert:shell .

ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# Modules first: they change less often than the code.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o bin/hupsert ./cmd/hupsert

FROM ${BASE}
COPY --from=build /src/bin/hupsert /usr/local/bin/hupsert
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/hupsert"]
