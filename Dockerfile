# The operator's image: one static program, and the certificate authorities that it trusts. No shell, nothing to update.
#
#   docker build --tag revoiceit-operator:0.1.0 --build-arg VERSION=0.1.0 .
#
# And that of the sandbox, a local Revoiceit for staging:
#
#   docker build --tag revoiceit-sandbox:0.1.0 --build-arg VERSION=0.1.0 --target revoiceit-sandbox .
#
# `make image` makes the last stage of each without Docker.

FROM rust:1.95-bookworm AS sources
WORKDIR /src
COPY . .

FROM sources AS build-revoiceit-sandbox
RUN deploy/image/compile.sh revoiceit-sandbox /image

FROM scratch AS revoiceit-sandbox
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="revoiceit-sandbox" \
      org.opencontainers.image.description="A local Revoiceit auth API for staging, with faults on demand" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build-revoiceit-sandbox /image/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/revoiceit-sandbox"]

FROM sources AS build-revoiceit-operator
RUN deploy/image/compile.sh revoiceit-operator /image

FROM scratch AS revoiceit-operator
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="revoiceit-operator" \
      org.opencontainers.image.description="Keeps Kubernetes Secrets supplied with valid Revoiceit access tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build-revoiceit-operator /image/ /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/revoiceit-operator"]
CMD ["run"]
