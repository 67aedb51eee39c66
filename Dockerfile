# The service alone, without the demo's private Postgres: give it a database, or use compose.
#
#   docker build -t rowcast .
#   docker run -p 127.0.0.1:8090:8090 -e DATABASE_URL=postgres://… rowcast
#   docker run -e DATABASE_URL=postgres://… rowcast doctor

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY assets assets
COPY benches benches
COPY migrations migrations
COPY sql sql
COPY src src
# The caches keep dependencies between builds; the program is copied out, as they do not stay.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --no-default-features --bin rowcast \
    && cp target/release/rowcast /rowcast

# No shell and no package manager; the machine's certificates for TLS to Postgres are in it.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /rowcast /rowcast
USER 65532:65532
ENV ROWCAST_LISTEN=0.0.0.0:8090
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/rowcast", "health"]
ENTRYPOINT ["/rowcast"]
CMD ["serve"]
