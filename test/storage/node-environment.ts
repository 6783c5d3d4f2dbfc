import fs from 'node:fs'
import { open, readlink, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { nodeFiles } from '../../storage/node-environment.ts'

t.test('a directory is made with those above it, or refused', async (t) => {
  const path = join(t.testdir({ file: '' }), 'a', 'b', 'c')
  await nodeFiles.makeDirectory(path)
  await nodeFiles.makeDirectory(path)
  t.same(await nodeFiles.list(path), [])
  // Node's own recursive mkdir goes round for ever here.
  await t.rejects(nodeFiles.makeDirectory('/proc/thaw/data'), { code: 'ENOENT' })
  await t.rejects(nodeFiles.makeDirectory(join(path, '..', '..', '..', 'file')), { code: 'EEXIST' })
})

/** Files that the operating system was asked to sync, as `fdatasync PATH` or `fsync PATH`. */
async function syncCalls(t: Test): Promise<string[]> {
  const calls: string[] = []
  const pathOf = (fd: number) => fs.readlinkSync(`/proc/self/fd/${fd}`)
  const { fdatasync } = fs
  const recordingFdatasync = (fd: number, done: (error: Error | null) => void) => {
    calls.push(`fdatasync ${pathOf(fd)}`)
    fdatasync(fd, done)
  }
  fs.fdatasync = Object.assign(recordingFdatasync, { __promisify__: fdatasync.__promisify__ })
  syncBuiltinESMExports()
  const file = await open('/dev/null')
  await file.close()
  const handles = Object.getPrototypeOf(file) as typeof file
  const { sync } = handles
  handles.sync = async function (this: typeof file) {
    calls.push(`fsync ${await readlink(`/proc/self/fd/${this.fd}`)}`)
    await sync.call(this)
  }
  t.teardown(() => {
    fs.fdatasync = fdatasync
    syncBuiltinESMExports()
    handles.sync = sync
  })
  return calls
}

t.test('what is called durable is what the operating system was asked for', async (t) => {
  const directory = t.testdir()
  const [log, marker] = [join(directory, 'log'), join(directory, 'marker')]
  const calls = await syncCalls(t)
  const file = await nodeFiles.open(log, 'create')
  await new Promise<void>((resolve, reject) => file.sync((error) => (error === null ? resolve() : reject(error))))
  await file.close()
  t.same(calls.splice(0), [`fdatasync ${log}`])
  await nodeFiles.syncDirectory(directory)
  t.same(calls.splice(0), [`fsync ${directory}`])
  await nodeFiles.writeFile(marker, 'text')
  t.same(calls.splice(0), [`fsync ${marker}`, `fsync ${directory}`])
  await writeFile(log, 'text')
  await nodeFiles.truncate(log, 2)
  t.same(calls.splice(0), [`fsync ${log}`])
})
