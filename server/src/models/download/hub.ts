import { fileDownloadInfo, HubApiError, InvalidApiResponseFormatError } from "@huggingface/hub";
import type { NetworkEnvironment } from "../../environment.js";
import { plainText } from "../../plainText.js";
import type { CatalogueEntry, HubFile } from "../catalogue.js";
import { cancelled, DownloadError } from "./downloadError.js";
import { type Network, networkError, openNetwork } from "./network.js";
import type { Source } from "./source.js";

const defaultHub = "https://huggingface.co";

/** The hub, or what `HF_ENDPOINT` names in its place. Sends from any byte on. */
export function hubSource(entry: CatalogueEntry, file: HubFile, environment: NetworkEnvironment): Source {
  const hubUrl = environment.hubUrl ?? defaultHub;
  return {
    label: `the hub (${hostOf(hubUrl)})`,
    startFor: (bytes) => bytes,
    neededBeside: 0,
    async *read(start, signal) {
      const network = openNetwork(environment);
      try {
        yield* readFrom(network, entry, { file, hubUrl, token: environment.hubToken, start, signal });
      } finally {
        await network.close();
      }
    },
  };
}

interface HubRequest {
  readonly file: HubFile;
  readonly hubUrl: string;
  readonly token: string | undefined;
  readonly start: number;
  readonly signal: AbortSignal;
}

async function* readFrom(network: Network, entry: CatalogueEntry, request: HubRequest): AsyncIterable<Uint8Array> {
  const { start, signal, hubUrl, token } = request;
  try {
    const url = await addressOf(network, entry, request);
    const headers = {
      range: `bytes=${start}-${entry.bytes - 1}`,
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    };
    const response = await network.fetch(url, { headers, signal });
    if (!response.ok) throw statusError(response.status, hostOf(hubUrl), token);
    if (start > 0 && response.status !== 206) {
      throw new DownloadError("refused", `${hostOf(hubUrl)} sends the file from its beginning only`);
    }
    let received = start;
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      received += chunk.length;
      yield chunk;
    }
    if (received < entry.bytes) throw new DownloadError("interrupted", `${hostOf(hubUrl)} ended the transfer too early`);
  } catch (error) {
    if (signal.aborted) throw cancelled();
    throw error instanceof DownloadError ? error : networkError(error, hostOf(hubUrl));
  }
}

/** Asks the hub for the file and compares what it says of it with the catalogue, before anything large is sent. */
async function addressOf(network: Network, entry: CatalogueEntry, request: HubRequest): Promise<string> {
  const { file, hubUrl, token, signal } = request;
  // Ends the answer too: a server that ignores ranges would send the whole file.
  const asking = new AbortController();
  const fetchInfo = (input: unknown, init?: object) =>
    network.fetch(input as string, { ...init, signal: AbortSignal.any([signal, asking.signal]) });
  try {
    const info = await fileDownloadInfo({
      repo: { type: "model", name: file.repository },
      revision: file.revision,
      path: file.file,
      hubUrl,
      fetch: fetchInfo as typeof fetch,
      ...(token !== undefined && { accessToken: token }),
    });
    if (info === null) throw new DownloadError("refused", `${hostOf(hubUrl)} has no ${file.file}`);
    if (info.size !== entry.bytes) {
      throw new DownloadError("wrongBytes", `${hostOf(hubUrl)} has another file under this name`);
    }
    return info.url;
  } catch (error) {
    if (error instanceof HubApiError) throw statusError(error.statusCode, hostOf(hubUrl), token);
    if (error instanceof TypeError && /access token/i.test(error.message)) {
      throw new DownloadError("refused", 'HF_TOKEN is not a token of the hub: it must begin with "hf_"');
    }
    if (error instanceof InvalidApiResponseFormatError) {
      throw new DownloadError("refused", `${hostOf(hubUrl)} does not answer as a hub does (${plainText(error.message, 80)})`);
    }
    throw error;
  } finally {
    asking.abort();
  }
}

function statusError(status: number, host: string, token: string | undefined): DownloadError {
  if (status === 401 || status === 403) {
    const advice = token === undefined ? "HF_TOKEN can hold a token of yours" : "HF_TOKEN is not accepted";
    return new DownloadError("refused", `${host} refuses access (status ${status}); ${advice}`);
  }
  if (status === 404) return new DownloadError("refused", `${host} does not have the file (status 404)`);
  if (status === 407) return new DownloadError("proxyRefused", `the proxy asks for a name and password (status 407)`);
  if (status === 429) return new DownloadError("refused", `${host} asks to wait (status 429)`);
  return new DownloadError(status >= 500 ? "interrupted" : "refused", `${host} answered with status ${status}`);
}

function hostOf(url: string): string {
  try {
    return plainText(new URL(url).host, 100);
  } catch {
    return plainText(url, 100);
  }
}
