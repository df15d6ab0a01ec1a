# The operator's image: one static program, and the certificate authorities it trusts. No shell, nothing to update.
#
#   docker build --tag revoiceit-operator:0.1.0 --build-arg VERSION=0.1.0 .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# With a target named, +crt-static is for the program alone and not for the macros that the compiler loads.
RUN target="$(rustc --print host-tuple)" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --target "$target" --bin revoiceit-operator \
 && cp "target/$target/release/revoiceit-operator" /revoiceit-operator

FROM scratch
ARG VERSION=unknown
LABEL org.opencontainers.image.title="revoiceit-operator" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets supplied with valid Revoiceit access tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /revoiceit-operator /revoiceit-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/revoiceit-operator"]
CMD ["run"]
