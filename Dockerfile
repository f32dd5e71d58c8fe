# The host in a container: its program on Debian without a shell, as a user without rights.
#
#   docker build -t xcomponent .
#   docker run -p 3000:3000 -v xcomponent:/data xcomponent
#
# What it is told comes as arguments behind the image's name, or from the environment:
# XCOMPONENT_STORE, XCOMPONENT_BROKER, OTEL_EXPORTER_OTLP_ENDPOINT. See examples/compose.
FROM rust:1.95-bookworm AS builder
WORKDIR /source
COPY . .
# The dependencies' results are kept from one build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --release --package xcomponent-host --bin xcomponent \
    && install -D target/release/xcomponent /root-of-image/usr/local/bin/xcomponent \
    && strip --strip-debug /root-of-image/usr/local/bin/xcomponent \
    && install -d -o 65532 -g 65532 /root-of-image/data

# The C library, certificates and a user `nonroot`; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=builder /root-of-image/usr /usr
COPY --from=builder --chown=65532:65532 /root-of-image/data /data
ENV XCOMPONENT_DATA=/data
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
# Nothing is restarted because its database or broker is away: this asks for the process only.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/xcomponent", "health"]
ENTRYPOINT ["/usr/local/bin/xcomponent"]
# There are no keys: whoever reaches the port may do everything, so publish it on a network of your
# own. `docker stop` waits for ten seconds; give it more (`--stop-timeout 45`).
CMD ["serve", "--host", "0.0.0.0", "--insecure-no-auth", "--log", "json"]
