# The operator's image: one static program, and the certificate authorities that it trusts. No shell, nothing to update.
#
#   docker build --tag revoiceit-operator:0.1.0 --build-arg VERSION=0.1.0 .
#
# `make image` makes the last stage without Docker.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN deploy/image/compile.sh /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="revoiceit-operator" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets supplied with valid Revoiceit access tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/revoiceit-operator"]
CMD ["run"]
