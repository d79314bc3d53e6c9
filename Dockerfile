# The server itself; what it runs are containers of the host's engine, beside this one (docker-compose.yml).
#
#   BASE   an image with Python 3.11 or newer, pip and a shell.
#   INDEX  where packages come from, if not from where pip looks by itself. Where there is none:
#          `pip wheel --wheel-dir wheels .` on a machine that has one, with the base's Python version;
#          a folder `wheels/` here is all that is used then.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
LABEL homeport.stage=build
ARG INDEX=
COPY . /build
RUN cd /build \
 && if ls wheels/*.whl >/dev/null 2>&1; \
    then python3 -m pip install --no-cache-dir --no-index --find-links wheels --target /opt/homeport homeport; \
    else python3 -m pip install --no-cache-dir ${INDEX:+--index-url "$INDEX"} --target /opt/homeport .; \
    fi

FROM ${BASE}
COPY --from=build /opt/homeport /opt/homeport
ENV PYTHONPATH=/opt/homeport \
    PATH=/opt/homeport/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOMEPORT_DATA_DIR=/var/lib/homeport
# No user of its own: whoever may write to the engine's socket is root on the host by one `docker run`, so
# another uid would protect nothing. The socket's group differs from host to host, and what workloads leave in
# the data directory belongs to root.
HEALTHCHECK --interval=15s --timeout=10s --start-period=20s CMD ["python3", "-c", \
  "import os, pathlib, sys; from homeport.server.background import is_answering; \
   sys.exit(not is_answering(pathlib.Path(os.environ['HOMEPORT_DATA_DIR'])))"]
ENTRYPOINT ["python3", "-m", "homeport"]
CMD ["serve"]
