//! The words of letters. Numbers are kept for good: control planes of two builds may stand
//! on one store. A question that a build does not know is refused, and a letter that cannot
//! be read is as good as none.

use bridge_proto::fleet::v1 as fleet;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Letter {
    /// Of the question; its answer has the same.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    /// The control plane that wrote it.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) from: Vec<u8>,
    #[prost(oneof = "Content", tags = "3, 4")]
    pub(super) content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Content {
    #[prost(message, tag = "3")]
    Question(Asked),
    #[prost(message, tag = "4")]
    Answer(Answered),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Asked {
    #[prost(oneof = "Question", tags = "1, 2, 3, 4, 5")]
    pub(super) question: Option<Question>,
}

/// What one control plane asks of another's data planes.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Question {
    /// Has the data plane finish and end.
    #[prost(string, tag = "1")]
    Drain(String),
    /// Takes a data plane off the list that is gone.
    #[prost(string, tag = "2")]
    Forget(String),
    #[prost(message, tag = "3")]
    TerminateStreams(fleet::TerminateStreams),
    #[prost(message, tag = "4")]
    Probe(ProbeAsked),
    #[prost(message, tag = "5")]
    Explain(ExplainAsked),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProbeAsked {
    #[prost(string, tag = "1")]
    pub(crate) provider: String,
    #[prost(string, tag = "2")]
    pub(crate) model: String,
    #[prost(uint64, tag = "3")]
    pub(crate) revision: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) timeout_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExplainAsked {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) body: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) key_id: String,
    #[prost(uint64, tag = "3")]
    pub(crate) revision: u64,
    /// Empty: any.
    #[prost(string, tag = "4")]
    pub(crate) node_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Answered {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5")]
    pub(super) answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Answer {
    #[prost(message, tag = "1")]
    Done(Done),
    #[prost(message, tag = "2")]
    Probed(Probed),
    #[prost(message, tag = "3")]
    Explained(Explained),
    /// There is no such data plane here, or none that could.
    #[prost(message, tag = "4")]
    NoNode(NoNode),
    /// It could not be done, in words for people.
    #[prost(string, tag = "5")]
    Refused(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Done {
    /// Data planes that could not be told.
    #[prost(string, repeated, tag = "1")]
    pub(crate) untold: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Probed {
    #[prost(string, tag = "1")]
    pub(crate) node_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) result: Option<fleet::ProbeResult>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Explained {
    #[prost(string, tag = "1")]
    pub(crate) node_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) explanation: Option<fleet::Explanation>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NoNode {}
