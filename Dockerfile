# A server for a team: docs/serving.md says how it is run. `docker run -i IMAGE serve` is a server on stdio.
# `--build-arg PLUGINS="llm-anthropic llm-gemini"` adds llm plugins.
FROM python:3.13-slim AS build
RUN python -m venv /opt/consortium
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY consortium_mcp consortium_mcp
ARG PLUGINS=""
RUN /opt/consortium/bin/pip install --no-cache-dir --disable-pip-version-check . ${PLUGINS} \
    && /opt/consortium/bin/python -m compileall -q /opt/consortium/lib

FROM python:3.13-slim
LABEL org.opencontainers.image.title="consortium-mcp" \
      org.opencontainers.image.description="Ask several language models one question; get one answer." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin consortium \
    && install --directory --owner consortium --mode 0700 /data
COPY --from=build /opt/consortium /opt/consortium
ENV PATH=/opt/consortium/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data \
    LLM_USER_PATH=/data/llm \
    CONSORTIUM_DATABASE=/data/consortium.db
USER consortium
# The only place that is written to: the database, llm's keys and configuration. Everything else can be read-only.
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=20s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["consortium-mcp"]
CMD ["serve", "--transport", "http,sse", "--host", "0.0.0.0"]
