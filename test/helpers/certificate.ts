import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

/** Makes a certificate for 127.0.0.1 that signs itself, so that it is its own CA. */
export function makeCertificate(folder: string): { path: string; keyPath: string } {
  const path = join(folder, 'certificate.pem')
  const keyPath = join(folder, 'key.pem')
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyPath]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  execFileSync('openssl', ['req', '-x509', ...key, ...subject, '-out', path], { stdio: 'ignore' })
  return { path, keyPath }
}
