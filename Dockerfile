# syntax=docker/dockerfile:1
# heed-server, from the same lock that the tests run with.
# It runs as nobody in particular (65532), and with a read-only root: it writes only to /data and /tmp.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# The libraries first: they change more rarely than the code, and their layer is kept.
COPY requirements/build.txt requirements/server.txt requirements/
RUN python -m venv --without-pip /opt/heed \
 && pip install --require-hashes --no-deps --only-binary :all: --requirement requirements/build.txt \
 && pip --python /opt/heed/bin/python install \
      --require-hashes --no-deps --only-binary :all: --requirement requirements/server.txt
COPY generated generated
COPY client client
COPY server server
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./generated ./client ./server \
 && pip --python /opt/heed/bin/python install --no-index --no-deps wheels/*.whl \
 && /opt/heed/bin/python -m compileall -q /opt/heed/lib \
 && install -d -o 65532 -g 65532 -m 0700 /data

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="heed" \
      org.opencontainers.image.description="May I send this, to this address, now?" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/heed/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
COPY --from=build /opt/heed /opt/heed
COPY --from=build --chown=65532:65532 /data /data
COPY LICENSE /usr/share/doc/heed/LICENSE
USER 65532:65532
# The default ./heed-data is thus /data/heed-data: the database of a single node, and the index.
WORKDIR /data
VOLUME ["/data"]
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["heed-server", "health"]
ENTRYPOINT ["heed-server"]
CMD ["serve"]
