# Gatebook in a container: each room a user of its own, by the numbers of /etc/passwd here. docs/howto/install.md
# Pin the base by digest when you build: FROM docker.io/library/python:3.13-slim-trixie@sha256:…
FROM docker.io/library/python:3.13-slim-trixie AS built
WORKDIR /source
COPY requirements/runtime.txt requirements/runtime.txt
RUN python -m venv /opt/gatebook \
    && /opt/gatebook/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/gatebook/bin/pip install --no-cache-dir --no-deps .

FROM docker.io/library/python:3.13-slim-trixie
COPY --from=built /opt/gatebook /opt/gatebook
RUN for name in gate sealer desk runner; do useradd --system --user-group --no-create-home --shell /usr/sbin/nologin "gatebook-$name"; done \
    && install -d -m 0755 /etc/gatebook \
    && install -d -m 0711 /var/lib/gatebook
ENV PATH=/opt/gatebook/bin:$PATH
VOLUME ["/etc/gatebook", "/var/lib/gatebook"]
EXPOSE 8443 8444
# The supervisor stays root, with the few capabilities of compose.yaml; no room does.
# hadolint ignore=DL3002
USER 0
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import ssl, urllib.request; urllib.request.urlopen('https://127.0.0.1:8443/readyz', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["gatebook"]
CMD ["serve", "--config", "/etc/gatebook/gatebook.toml"]
