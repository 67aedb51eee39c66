//! TLS to Postgres with libpq's meanings, by rustls.
//!
//! `disable` never encrypts. `allow` and `prefer` encrypt if the server can. `require` insists on
//! encryption but, as in libpq, does not ask whose certificate it is, unless `sslrootcert` is
//! given: then the chain is verified in all these modes. `verify-ca` verifies the chain,
//! `verify-full` also the name; both trust the machine's authorities unless `sslrootcert` names
//! others. `sslrootcert=system` means the machine's authorities and `verify-full`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode as DriverMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::DatabaseOptions;
use super::error::DatabaseConfigError;

/// How TLS is used, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// As [`SslMode::Prefer`].
    Allow,
    /// If the server can.
    Prefer,
    /// Always, with whomever it is.
    Require,
    /// Always, with a certificate from a trusted authority.
    VerifyCa,
    /// Always, with a certificate from a trusted authority for this very host.
    VerifyFull,
}

const MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = MODES.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or(UnknownSslMode)
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = MODES
            .iter()
            .find(|(_, mode)| mode == self)
            .expect("every mode has a name");
        f.write_str(name)
    }
}

/// A text that is none of the modes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be disable, allow, prefer, require, verify-ca or verify-full")]
pub struct UnknownSslMode;

/// What a connection string says about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: Option<SslMode>,
    pub(super) root_cert: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

impl TlsSettings {
    /// Fills what is not said from the options.
    pub(super) fn or_defaults(self, options: &DatabaseOptions) -> Self {
        Self {
            mode: self.mode.or(options.sslmode),
            root_cert: self.root_cert.or_else(|| options.sslrootcert.clone()),
            ..self
        }
    }

    fn trusts_system(&self) -> bool {
        self.root_cert.as_deref() == Some(Path::new("system"))
    }

    /// The mode that applies, with libpq's exceptions.
    fn effective_mode(&self) -> Result<SslMode, DatabaseConfigError> {
        match self.mode {
            None if self.trusts_system() => Ok(SslMode::VerifyFull),
            None => Ok(SslMode::Prefer),
            Some(mode) if self.trusts_system() && mode != SslMode::VerifyFull => {
                Err(DatabaseConfigError::Option {
                    option: "sslmode".to_owned(),
                    problem: format!(
                        "is {mode}, which is too weak for sslrootcert=system; write \
                         sslmode=verify-full"
                    ),
                })
            }
            Some(mode) => Ok(mode),
        }
    }
}

/// Builds the connector for these settings and tells the driver when to use it.
pub(super) fn connector(
    settings: &TlsSettings,
    config: &mut Config,
) -> Result<MakeRustlsConnect, DatabaseConfigError> {
    let mode = settings.effective_mode()?;
    // As libpq: a Unix socket is never encrypted, whatever the mode.
    let local = config
        .get_hosts()
        .iter()
        .all(|host| matches!(host, Host::Unix(_)));
    config.ssl_mode(match mode {
        _ if local => DriverMode::Disable,
        SslMode::Disable => DriverMode::Disable,
        SslMode::Allow | SslMode::Prefer => DriverMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverMode::Require,
    });
    if config.get_ssl_mode() == DriverMode::Disable {
        // The driver wants a connector even if it never asks it for anything.
        let unused = client_config(Trust::Anybody, &TlsSettings::default())?;
        return Ok(MakeRustlsConnect::new(unused));
    }
    let trust = Trust::new(mode, settings)?;
    Ok(MakeRustlsConnect::new(client_config(trust, settings)?))
}

/// Which certificates are good enough.
enum Trust {
    Anybody,
    /// A chain to one of these; with the host's name if asked for.
    Roots {
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        name: bool,
    },
}

impl Trust {
    fn new(mode: SslMode, settings: &TlsSettings) -> Result<Self, DatabaseConfigError> {
        let name = mode == SslMode::VerifyFull;
        let verify = name || mode == SslMode::VerifyCa;
        let pinned = match &settings.root_cert {
            Some(file) if !settings.trusts_system() => read_roots(file)?,
            _ if verify => {
                let roots = system_roots()?;
                return Ok(Self::Roots {
                    roots,
                    pinned: Vec::new(),
                    name,
                });
            }
            _ => return Ok(Self::Anybody),
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(pinned.iter().cloned());
        Ok(Self::Roots {
            roots,
            pinned,
            name,
        })
    }
}

fn client_config(
    trust: Trust,
    settings: &TlsSettings,
) -> Result<ClientConfig, DatabaseConfigError> {
    // Named here, because a second provider among the dependencies would leave rustls without one.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity(settings)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    // Needed for sslnegotiation=direct and ignored otherwise.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(config)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate we show, if there is one.
fn identity(settings: &TlsSettings) -> Result<Option<Identity>, DatabaseConfigError> {
    let missing = |option: &str, other: &str| DatabaseConfigError::Option {
        option: option.to_owned(),
        problem: format!("is missing; {other} needs it"),
    };
    match (&settings.cert, &settings.key) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(missing("sslkey", "sslcert")),
        (None, Some(_)) => Err(missing("sslcert", "sslkey")),
        (Some(cert), Some(key)) => Ok(Some((read_certs("sslcert", cert)?, read_key(key)?))),
    }
}

fn read_certs(
    option: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, DatabaseConfigError> {
    let unreadable = |source: rustls::pki_types::pem::Error| DatabaseConfigError::File {
        option,
        path: path.to_owned(),
        problem: "cannot be read as a PEM file of certificates",
        source: Some(source.into()),
    };
    let certs = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable)?;
    if certs.is_empty() {
        return Err(DatabaseConfigError::File {
            option,
            path: path.to_owned(),
            problem: "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)",
            source: None,
        });
    }
    Ok(certs)
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, DatabaseConfigError> {
    read_certs("sslrootcert", path)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, DatabaseConfigError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| DatabaseConfigError::File {
        option: "sslkey",
        path: path.to_owned(),
        problem: "cannot be read as an unencrypted PEM key",
        source: Some(source.into()),
    })
}

/// TLS to anybody whom this machine's authorities vouch for.
///
/// # Errors
/// If the machine has no authorities.
pub fn public_tls() -> Result<ClientConfig, DatabaseConfigError> {
    let roots = system_roots()?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn system_roots() -> Result<RootCertStore, DatabaseConfigError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => Err(DatabaseConfigError::NoTrustedRoots),
        false => Ok(roots),
    }
}

fn verifier(
    trust: Trust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, DatabaseConfigError> {
    let provider = provider.clone();
    match trust {
        Trust::Anybody => Ok(Arc::new(Verifier {
            provider,
            chain: None,
            pinned: Vec::new(),
            name: false,
        })),
        Trust::Roots {
            roots,
            pinned,
            name,
        } => {
            let chain = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            Ok(Arc::new(Verifier {
                provider,
                chain: Some(chain),
                pinned,
                name,
            }))
        }
    }
}

/// Verifies as much as the mode asks for. The handshake's signature is verified in every mode:
/// channel binding relies on it.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// `None`: whoever it is.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are good by themselves; a server may use one of them directly.
    pinned: Vec<CertificateDer<'static>>,
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        if self.pinned.contains(end_entity) {
            return self.verify_pinned(end_entity, server_name);
        }
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: the chain was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl Verifier {
    /// A self-signed server certificate that is its own root: rustls would refuse it as an
    /// authority posing as a server, yet it is what `openssl req -x509` makes.
    fn verify_pinned(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.name {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }
}
