# Makes the database of WSUS, unless it was made for this folder already: wsusutil takes minutes, and may be run twice.
param([string]$Content)
$setup = 'HKLM:\SOFTWARE\Microsoft\Update Services\Server\Setup'
$known = (Get-ItemProperty -LiteralPath $setup -ErrorAction SilentlyContinue).ContentDir
$ready = $false
if ($known -and $known.TrimEnd('\') -eq $Content.TrimEnd('\')) {
    try {
        $ready = [bool](Get-WsusServer)
    } catch {
        $ready = $false
    }
}
$Ansible.Changed = -not $ready
if (-not $ready) {
    $program = Join-Path -Path $env:ProgramFiles -ChildPath 'Update Services\Tools\WsusUtil.exe'
    $said = & $program postinstall "CONTENT_DIR=$Content" 2>&1
    if ($LASTEXITCODE -ne 0) {
        throw "wsusutil postinstall: code ${LASTEXITCODE}: $(@($said)[-1])"
    }
}
