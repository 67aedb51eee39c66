use super::*;
use crate::db::tls::SslMode;

fn tls(mode: Option<SslMode>, root: Option<&str>) -> TlsSettings {
    TlsSettings {
        mode,
        root_cert: root.map(PathBuf::from),
        ..TlsSettings::default()
    }
}
