//! What an error of the HTTP library means: by its type, since its words may change.

use bridge_translate::error::FaultKind;
use h2::Reason;
use hyper_util::client::legacy;

use super::connect::{Failure, causes};
use crate::upstream::outcome::Class;

pub(super) fn classify(error: &legacy::Error) -> Class {
    if let Some(failure) = find::<Failure>(error) {
        return match failure {
            Failure::NotFound => Class::NameNotFound,
            Failure::Denied => Class::DeniedAddress,
            Failure::Timeout => Class::ConnectTimeout,
            Failure::Unreachable(_) => Class::Unreachable,
            Failure::Tls(_) | Failure::TlsTimeout | Failure::ServerName => Class::Tls,
        };
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => Class::TooBig,
        Some(error) if error.is_parse() => Class::Said(FaultKind::Nonsense),
        Some(_) | None => Class::Reset,
    }
}

/// The upstream has not taken the call and says so, which in HTTP/2 it can.
pub(super) fn is_untaken(error: &legacy::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
    })
}

fn find<T: std::error::Error + 'static>(error: &legacy::Error) -> Option<&T> {
    causes(error).find_map(|cause| cause.downcast_ref::<T>())
}
