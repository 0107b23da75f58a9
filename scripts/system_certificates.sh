# Sourced before anything is fetched. `system_certificates` makes pip, uv and Maven trust the same certificates: the bundle
# that one of them is configured with, or else those of this machine, including an authority that only its own store has.
# Without a store (a bare container), each uses its built-in list.
system_certificates() {
    local python=.venv/bin/python bundle=${PIP_CERT:-}
    if [ -z "$bundle" ] && [ -x "$python" ]; then
        bundle=$("$python" -m pip config get global.cert 2>/dev/null || true)
    fi
    bundle=${bundle:-${REQUESTS_CA_BUNDLE:-${SSL_CERT_FILE:-}}}
    if [ -n "$bundle" ]; then
        export PIP_CERT=$bundle SSL_CERT_FILE=${SSL_CERT_FILE:-$bundle} UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
    else
        for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem \
            /etc/ssl/cert.pem; do
            if [ -s "$bundle" ]; then
                export PIP_CERT=$bundle UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
                break
            fi
        done
    fi
    # Debian's Java uses this file anyway; another Java has its own list.
    for bundle in /etc/ssl/certs/java/cacerts /etc/pki/java/cacerts; do
        if [ -s "$bundle" ] && [[ "${MAVEN_OPTS:-} ${JAVA_TOOL_OPTIONS:-}" != *javax.net.ssl.trustStore* ]]; then
            export MAVEN_OPTS="${MAVEN_OPTS:+$MAVEN_OPTS }-Djavax.net.ssl.trustStore=$bundle"
            break
        fi
    done
}
